package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/origin"
)

// setting is a row of the table that flags, environment, file and reference share.
type setting struct {
	section string // in the reference; set on the first setting of a section
	name    string
	def     string
	doc     string
	value
}

// value stores a setting's value.
type value struct {
	set func(string) error // the error says what is allowed: "a duration such as 25s"
	yes bool               // the flag may stand without a value
}

// settings returns the table, bound to c.
func (c *Config) settings() []setting {
	return []setting{
		{"Server", "addr", "", "Address to listen on, over TCP and, for WebTransport, UDP; `127.0.0.1:8080` if left out, with TLS `:443`, and `127.0.0.1:8443` if that is self-signed. Without a host, `:8080`, it is every address of the machine. `unix:/run/parley.sock` is a Unix socket, for a proxy on this machine: user and group of the server may connect, and who does counts as 127.0.0.1, for `trusted-proxies`, say.", addressOr(&c.Addr, "unix:/run/parley.sock", isSocket)},
		{"", "data", "parley-data", "Directory of the messages; it is made if it does not exist. `memory` keeps them in memory only.", text(&c.Data, "a directory, or memory")},
		{"", "shutdown-timeout", "20s", "How long a shutdown may take: clients are told, what waits is sent and stored.", duration(&c.ShutdownTimeout, 5*time.Minute)},
		{"", "log-level", "info", "`debug`, `info`, `warn` or `error`.", level(&c.LogLevel)},
		{"", "log-format", "text", "`text` or `json`. The log goes to the standard error.", oneOf(&c.LogFormat, "text", "json")},

		{"TLS", "tls-cert", "", "File of a certificate and its chain, PEM, with which TLS is on. It is read again when it changes.", optional(&c.TLSCert)},
		{"", "tls-key", "", "File of its key, PEM.", optional(&c.TLSKey)},
		{"", "acme-domains", "", "Names, separated by commas, for which certificates are got from an ACME authority, to whose terms of service you agree by setting this. It must reach port 443 of this server, or port 80, under each of them.", domains(&c.ACMEDomains)},
		{"", "acme-email", "", "Where the authority may write to.", optional(&c.ACMEEmail)},
		{"", "acme-directory", "", "URL of the authority; Let's Encrypt if left out.", httpsURL(&c.ACMEDirectory)},
		{"", "acme-root", "", "File of certificates, PEM, of whom to trust as the authority; what the system trusts if left out.", optional(&c.ACMERoot)},
		{"", "tls-self-signed", "false", "For development: TLS with a certificate for `localhost` that is made at the first start and kept with the data.", boolean(&c.TLSSelfSigned)},
		{"", "http-redirect", "", "TCP address whose requests are redirected to TLS, and where the ACME authority is answered; `off` is none. If left out, `:80` where `addr` is left out and TLS is not self-signed.", addressOr(&c.HTTPRedirect, redirectOff, func(s string) bool { return s == redirectOff })},

		{"Socket.IO", "path", "/socket.io/", "Path of Socket.IO, for clients and for the page that comes with the server.", urlPath(&c.Path)},
		{"", "transports", "polling,websocket,sse,webtransport", "What clients may connect over. WebTransport is there with TLS only, on the UDP port of the same number.", listOf(&c.Transports, "polling", "websocket", "sse", "webtransport")},
		{"", "allow-eio3", "true", "Let clients of Socket.IO 2 connect, too, over Engine.IO 3.", boolean(&c.AllowEIO3)},
		{"", "jsonp", "true", "Let pages poll by scripts and forms (JSONP), which very old browsers and some networks need. Pages of other sites are held to `cors-origins` there, too.", boolean(&c.JSONP)},
		{"", "ping-interval", "25s", "Time from a client's pong to the next ping, and between the comments that keep feeds alive, of which there is one at least every 20 s.", duration(&c.PingInterval, time.Hour)},
		{"", "ping-timeout", "20s", "Time for the pong; a client that is silent for longer is gone.", duration(&c.PingTimeout, time.Hour)},
		{"", "compression", "false", "Compress messages of 1 KiB and more on WebSockets. It costs memory and CPU.", boolean(&c.Compression)},
		{"", "cors-origins", "", "Other sites whose pages may connect, as `https://example.com`, separated by commas; `*` is all of them.", origins(&c.CORSOrigins)},
		{"", "cors-credentials", "false", "Let pages of those sites send cookies.", boolean(&c.CORSCredentials)},
		{"", "feed-lifetime", "1h", "How long a feed of Server-Sent Events lasts, at most; each ends after 80 to 100 % of it, and its client goes on with another.", duration(&c.FeedLifetime, 24*time.Hour)},
		{"", "trusted-proxies", "", "Networks or addresses of proxies, separated by commas, whose `X-Forwarded-For` tells the clients' addresses: `127.0.0.1,10.0.0.0/8`. It is ignored from others.", networks(&c.TrustedProxies)},

		{"Limits", "max-connections", "100000", "Connections in all, and as many feeds. 0 is no limit.", integer(&c.MaxConnections, 0, 1<<31-1)},
		{"", "max-connections-per-address", "0", "Connections from one IPv4 address, or from one /64 network of IPv6, and as many feeds. 0 is no limit. Behind a proxy they all have the proxy's, unless it is one of `trusted-proxies`.", integer(&c.MaxConnectionsPerAddress, 0, 1<<31-1)},
		{"", "events-per-second", "10000", "Events that one client may send, with bursts of two seconds' worth. Who sends more is disconnected. 0 is no limit.", number(&c.EventsPerSecond)},
		{"", "bytes-per-second", "8MiB", "Bytes that one client may send, likewise. 0 is no limit.", size(&c.BytesPerSecond, 0, 1<<40)},
		{"", "max-payload", "1MB", "Size of one packet, inflated, or of one HTTP request's body. Who sends more is disconnected, or answered with 413.", size(&c.MaxPayload, 1<<10, 1<<30)},
		{"", "max-outbox", "1MiB", "What may wait to be sent to one client or feed. Who is further behind is disconnected.", size(&c.MaxOutbox, 64<<10, 1<<30)},
		{"", "max-rooms", "128", "Rooms that one client may be in at the same time.", integer(&c.MaxRooms, 1, 1<<20)},

		{"Conversations", "max-message", "64KiB", "Size of one message, as compact JSON.", size(&c.MaxMessage, 1, history.MaxMessage)},
		{"", "page-size", "50", "Messages of a page of history when the client does not say how many it wants.", integer(&c.PageSize, 1, history.MaxLimit)},
		{"", "max-page-size", strconv.Itoa(history.MaxLimit), "Messages of a page at most.", integer(&c.MaxPage, 1, history.MaxLimit)},
	}
}

// parsed stores the result of parse. want describes the allowed values.
func parsed[T any](to *T, want string, parse func(string) (T, error)) value {
	return value{set: func(s string) error {
		v, err := parse(s)
		if err != nil {
			return errors.New(want)
		}
		*to = v
		return nil
	}}
}

var errNotAllowed = errors.New("not allowed")

// allowed returns v, or an error if ok is false.
func allowed[T any](v T, ok bool) (T, error) {
	if !ok {
		return v, errNotAllowed
	}
	return v, nil
}

func text(to *string, want string) value {
	return parsed(to, want, func(s string) (string, error) { return allowed(s, s != "") })
}

func optional(to *string) value {
	return parsed(to, "", func(s string) (string, error) { return s, nil })
}

func httpsURL(to *string) value {
	return parsed(to, "a URL that begins with https://", func(s string) (string, error) {
		u, err := url.Parse(s)
		return allowed(s, s == "" || err == nil && u.Scheme == "https" && u.Host != "")
	})
}

// addressOr accepts an address or another kind of value, which want describes. An empty string
// means that the setting was left out.
func addressOr(to *string, want string, other func(string) bool) value {
	return parsed(to, "host:port, such as 127.0.0.1:8080 or :8080, or "+want, func(s string) (string, error) {
		if s == "" || other(s) {
			return s, nil
		}
		_, port, err := net.SplitHostPort(s)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		return s, err
	})
}

func urlPath(to *string) value {
	return parsed(to, "a path that begins and ends with a slash, such as /socket.io/", func(s string) (string, error) {
		return allowed(s, len(s) > 2 && s == path.Clean("/"+s)+"/" && !strings.ContainsAny(s, " ?#%{}"))
	})
}

func duration(to *time.Duration, most time.Duration) value {
	want := fmt.Sprintf("a duration such as 25s or 1m30s, from 1ms to %gm", most.Minutes())
	return parsed(to, want, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, err
		}
		return allowed(d, d >= time.Millisecond && d <= most)
	})
}

func boolean(to *bool) value {
	v := parsed(to, "true or false", func(s string) (bool, error) { return allowed(s == "true", s == "true" || s == "false") })
	v.yes = true
	return v
}

func integer(to *int, least, most int) value {
	return parsed(to, fmt.Sprintf("a whole number from %d to %d", least, most), func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, err
		}
		return allowed(n, least <= n && n <= most)
	})
}

func number(to *float64) value {
	return parsed(to, "a number such as 1000, or 0", func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, err
		}
		return allowed(f, f >= 0 && f <= 1e12)
	})
}

// units are the units of sizes. Longer names come first because they end with shorter ones.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

func size(to *int64, least, most int64) value {
	return parsed(to, fmt.Sprintf("a size such as 512KiB, 1MB or 65536, from %d to %d bytes", least, most), func(s string) (int64, error) {
		for _, u := range units {
			digits, ok := strings.CutSuffix(s, u.name)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err != nil {
				return 0, err
			}
			return allowed(n*u.bytes, n >= 0 && n <= most/u.bytes && n*u.bytes >= least)
		}
		return 0, errNotAllowed
	})
}

func level(to *slog.Level) value {
	return parsed(to, "debug, info, warn or error", func(s string) (l slog.Level, err error) {
		if err = l.UnmarshalText([]byte(s)); err == nil && strings.ContainsAny(s, "+-") {
			err = errNotAllowed // "info+2" is only for programs
		}
		return l, err
	})
}

func oneOf(to *string, choices ...string) value {
	return parsed(to, strings.Join(choices, " or "), func(s string) (string, error) { return allowed(s, slices.Contains(choices, s)) })
}

// splitList splits a string at commas. An empty string is an empty list.
func splitList(s string) []string {
	var parts []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func listOf(to *[]string, choices ...string) value {
	want := "one or more of " + strings.Join(choices, ", ")
	return parsed(to, want, func(s string) ([]string, error) {
		l := splitList(s)
		unknown := slices.ContainsFunc(l, func(part string) bool { return !slices.Contains(choices, part) })
		return allowed(l, len(l) > 0 && !unknown)
	})
}

func origins(to *[]string) value {
	return value{set: func(s string) error {
		l := splitList(s)
		for i, o := range l {
			l[i] = asciiOrigin(o)
			if err := origin.Check(l[i]); err != nil {
				return fmt.Errorf("origins such as https://example.com, separated by commas, or *: %w", err)
			}
		}
		*to = l
		return nil
	}}
}

// asciiOrigin returns an origin with its host in the form in which it is sent, if possible.
func asciiOrigin(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" {
		return origin
	}
	host, err := asciiHost(u.Hostname())
	if err != nil {
		return origin
	}
	return strings.Replace(origin, u.Hostname(), host, 1)
}

// asciiHost returns a name in the form in which it is sent: in lower case, and xn--mller-kva for
// müller.
func asciiHost(name string) (string, error) {
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return idna.Lookup.ToASCII(name)
	}
	return strings.ToLower(name), nil
}

func networks(to *[]netip.Prefix) value {
	return parsed(to, "networks such as 10.0.0.0/8 or addresses, separated by commas", func(s string) ([]netip.Prefix, error) {
		var l []netip.Prefix
		for _, part := range splitList(s) {
			p, err := netip.ParsePrefix(part)
			if err != nil {
				var a netip.Addr
				if a, err = netip.ParseAddr(part); err != nil {
					return nil, err
				}
				p = netip.PrefixFrom(a, a.BitLen())
			}
			l = append(l, p)
		}
		return l, nil
	})
}

func domains(to *[]string) value {
	return parsed(to, "domain names such as chat.example.com, separated by commas", func(s string) ([]string, error) {
		l := splitList(s)
		for i, part := range l {
			name, err := asciiHost(part)
			if err != nil || !strings.Contains(strings.Trim(name, "."), ".") || strings.ContainsFunc(name, notOfHost) || strings.Contains(name, ":") || net.ParseIP(name) != nil {
				return nil, errNotAllowed
			}
			l[i] = name
		}
		return l, nil
	})
}
