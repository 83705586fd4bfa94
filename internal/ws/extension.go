package ws

import (
	"errors"
	"strconv"
	"strings"
)

const permessageDeflate = "permessage-deflate"

// Compression configures permessage-deflate. You can share it. Do not change it once it is in use.
type Compression struct {
	// Without context takeover, that side compresses each message by itself. The ratio is worse, but
	// an idle connection needs no memory for it: on our server, a compressor of about 1 MB for what
	// the server sends, and a window of up to 32 KiB for what the client sends. A server can also
	// compress a message once for all receivers.
	NoServerContextTakeover bool
	NoClientContextTakeover bool

	// The largest LZ77 window of each side, from 8 to 15 bits. If zero, it is 15. A server can limit
	// a client's window only if the client offers that.
	ServerMaxWindowBits int
	ClientMaxWindowBits int

	// Threshold is the size in bytes below which messages are sent uncompressed. If zero, it is
	// 1024. If negative, all messages are compressed.
	Threshold int

	// Level is the compression level, as in compress/flate. If zero, it is flate.BestSpeed.
	Level int
}

const defaultThreshold = 1024

func (c *Compression) params() DeflateParams {
	d := DeflateParams{
		ServerNoContextTakeover: c.NoServerContextTakeover,
		ClientNoContextTakeover: c.NoClientContextTakeover,
		ServerMaxWindowBits:     c.ServerMaxWindowBits,
		ClientMaxWindowBits:     c.ClientMaxWindowBits,
		Threshold:               c.Threshold,
		Level:                   c.Level,
	}
	if d.ServerMaxWindowBits == 0 {
		d.ServerMaxWindowBits = maxWindowBits
	}
	if d.ClientMaxWindowBits == 0 {
		d.ClientMaxWindowBits = maxWindowBits
	}
	if d.Threshold == 0 {
		d.Threshold = defaultThreshold
	}
	d.Threshold = max(d.Threshold, 0)
	return d
}

// An extension is one element of Sec-WebSocket-Extensions (RFC 6455, 9.1).
type extension struct {
	name   string
	params []param
}

type param struct {
	name, value string
	hasValue    bool
}

// maxExtensionParts limits the total number of extensions and parameters in a request. Without it,
// parsing a header of 1 MB would take many times that memory.
const maxExtensionParts = 100

var errExtensions = errors.New("malformed Sec-WebSocket-Extensions")

// parseExtensions parses the field's lines. It returns an error because a field that does not conform
// to the grammar MUST fail the connection.
func parseExtensions(lines []string) ([]extension, error) {
	var all []extension
	parts := 0
	for _, s := range lines {
		for s = skipSpace(s); s != ""; {
			if s[0] == ',' { // ignore empty elements, RFC 9110 5.6.1
				s = skipSpace(s[1:])
				continue
			}
			var ext extension
			var ok bool
			if ext, s, ok = cutExtension(s); !ok || s != "" && s[0] != ',' {
				return nil, errExtensions
			}
			if parts += 1 + len(ext.params); parts > maxExtensionParts {
				return nil, errExtensions
			}
			all = append(all, ext)
		}
	}
	return all, nil
}

func cutExtension(s string) (ext extension, rest string, ok bool) {
	if ext.name, s = cutToken(s); ext.name == "" {
		return ext, s, false
	}
	for s = skipSpace(s); s != "" && s[0] == ';'; s = skipSpace(s) {
		var p param
		if p.name, s = cutToken(skipSpace(s[1:])); p.name == "" {
			return ext, s, false
		}
		if s = skipSpace(s); s != "" && s[0] == '=' {
			p.hasValue = true
			if p.value, s = cutValue(skipSpace(s[1:])); !isToken(p.value) {
				return ext, s, false
			}
		}
		if ext.params = append(ext.params, p); len(ext.params) > maxExtensionParts {
			return ext, s, false
		}
	}
	return ext, s, true
}

// cutToken cuts the longest token off the start of s.
func cutToken(s string) (token, rest string) {
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

// cutValue cuts a token or a quoted string off the start of s. A quoted string must contain a token;
// the caller checks that.
func cutValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		return cutToken(s)
	}
	value, rest, ok := strings.Cut(s[1:], `"`)
	if !ok {
		return "", ""
	}
	return strings.ReplaceAll(value, `\`, ""), rest
}

func skipSpace(s string) string { return strings.TrimLeft(s, " \t") }

// negotiateDeflate picks the first valid offer of permessage-deflate; a server must decline invalid
// ones (RFC 7692, 7). It returns nil if there is none.
func negotiateDeflate(offers []extension, c *Compression) *DeflateParams {
	for _, ext := range offers {
		if ext.name != permessageDeflate {
			continue
		}
		offer, ok := parseDeflate(ext.params, true)
		if !ok {
			continue
		}
		d := c.params()
		// The client may hint that it will not take context over. We may confirm this, which saves us
		// its window. The client may demand that we do not take context over. We must confirm that.
		d.ServerNoContextTakeover = d.ServerNoContextTakeover || offer.serverNoTakeover
		d.ClientNoContextTakeover = d.ClientNoContextTakeover || offer.clientNoTakeover
		if offer.serverBits != 0 {
			// "A server accepts an extension negotiation offer with this parameter by including
			// the "server_max_window_bits" extension parameter" (RFC 7692, 7.1.2.1).
			d.confirm = true
			d.ServerMaxWindowBits = min(d.ServerMaxWindowBits, offer.serverBits)
		}
		if offer.clientBits != 0 {
			d.ClientMaxWindowBits = min(d.ClientMaxWindowBits, offer.clientBits)
		} else {
			d.ClientMaxWindowBits = maxWindowBits // we must not ask the client for less
		}
		return &d
	}
	return nil
}

// offer returns a client's Sec-WebSocket-Extensions value. It always allows the server to limit our
// window.
func (c *Compression) offer() string {
	d := c.params()
	b := d.appendTo(nil)
	if d.ClientMaxWindowBits == maxWindowBits {
		b = append(b, "; client_max_window_bits"...)
	}
	return string(b)
}

// agree checks a server's answer to c's offer. The handshake fails if RFC 7692, 7.1, does not allow
// the answer.
func (c *Compression) agree(params []param) (*DeflateParams, error) {
	answer, ok := parseDeflate(params, false)
	d := c.params()
	if !ok ||
		d.ServerNoContextTakeover && !answer.serverNoTakeover ||
		d.ServerMaxWindowBits < maxWindowBits &&
			(answer.serverBits == 0 || answer.serverBits > d.ServerMaxWindowBits) {
		return nil, errors.New("handshake: server does not keep to the parameters of permessage-deflate offered")
	}
	d.ServerNoContextTakeover = answer.serverNoTakeover
	d.ClientNoContextTakeover = d.ClientNoContextTakeover || answer.clientNoTakeover
	if answer.serverBits != 0 {
		d.ServerMaxWindowBits = answer.serverBits
	}
	if answer.clientBits != 0 {
		d.ClientMaxWindowBits = min(d.ClientMaxWindowBits, answer.clientBits)
	}
	return &d, nil
}

// deflateParams are the parameters of one offer or response. The bits are zero if the parameter is
// missing.
type deflateParams struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             int
}

// parseDeflate checks the parameters of permessage-deflate (RFC 7692, 7.1). In an offer,
// client_max_window_bits needs no value.
func parseDeflate(params []param, offer bool) (d deflateParams, ok bool) {
	for i, p := range params {
		for _, q := range params[:i] {
			if p.name == q.name {
				return d, false
			}
		}
		switch p.name {
		case "server_no_context_takeover":
			d.serverNoTakeover, ok = true, !p.hasValue
		case "client_no_context_takeover":
			d.clientNoTakeover, ok = true, !p.hasValue
		case "server_max_window_bits":
			d.serverBits, ok = windowBits(p.value)
		case "client_max_window_bits":
			if offer && !p.hasValue {
				d.clientBits, ok = maxWindowBits, true
			} else {
				d.clientBits, ok = windowBits(p.value)
			}
		default:
			ok = false
		}
		if !ok {
			return d, false
		}
	}
	return d, true
}

// windowBits parses "a decimal integer value without leading zeroes between 8
// to 15, inclusive" (RFC 7692, 7.1.2.1).
func windowBits(s string) (int, bool) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		if s == strconv.Itoa(bits) {
			return bits, true
		}
	}
	return 0, false
}

// appendTo appends d as a Sec-WebSocket-Extensions value. It leaves out parameters that have their
// default value, unless we must confirm them.
func (d *DeflateParams) appendTo(dst []byte) []byte {
	dst = append(dst, permessageDeflate...)
	if d.ServerNoContextTakeover {
		dst = append(dst, "; server_no_context_takeover"...)
	}
	if d.ClientNoContextTakeover {
		dst = append(dst, "; client_no_context_takeover"...)
	}
	if d.ServerMaxWindowBits < maxWindowBits || d.confirm {
		dst = append(dst, "; server_max_window_bits="...)
		dst = strconv.AppendInt(dst, int64(d.ServerMaxWindowBits), 10)
	}
	if d.ClientMaxWindowBits < maxWindowBits {
		dst = append(dst, "; client_max_window_bits="...)
		dst = strconv.AppendInt(dst, int64(d.ClientMaxWindowBits), 10)
	}
	return dst
}
