package sio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/parley-go/parley/internal/jsonscan"
)

// AppendEventArgs appends the data of an event, which is an array of its name and arguments. It
// returns the attachments that it takes out of them. It encodes arguments as encoding/json does,
// but does not escape HTML. Also:
//   - a []byte becomes an attachment (nil becomes null);
//   - a [Binary] at any depth becomes an attachment too; in types that encode themselves, as far
//     as that is possible (see binary.go);
//   - a json.RawMessage is checked and copied as it is.
//
// The attachments alias the arguments, which must not change until they are sent. On an error
// AppendEventArgs returns dst unchanged.
func AppendEventArgs(dst []byte, name string, args []any) (data []byte, attachments [][]byte, err error) {
	e := argEncoder{data: AppendString(append(dst, '['), name)}
	return e.finish(dst, args, true)
}

// AppendArgs is [AppendEventArgs] without a name, for an acknowledgement.
func AppendArgs(dst []byte, args []any) (data []byte, attachments [][]byte, err error) {
	e := argEncoder{data: append(dst, '[')}
	return e.finish(dst, args, false)
}

type argEncoder struct {
	data        []byte
	attachments [][]byte
}

func (e *argEncoder) finish(dst []byte, args []any, comma bool) ([]byte, [][]byte, error) {
	for i, arg := range args {
		if comma || i > 0 {
			e.data = append(e.data, ',')
		}
		if err := e.append(arg); err != nil {
			return dst, nil, fmt.Errorf("parley: encode argument %d: %w", i, err)
		}
	}
	e.data = append(e.data, ']')
	// An argument may contain something that looks like a placeholder, perhaps from a client that
	// wants it forwarded. Without attachments that is harmless. With attachments the receiving
	// client would close its connection, or show the wrong attachment.
	if len(e.attachments) > 0 && checkPlaceholders(e.data[len(dst):], len(e.attachments)) != nil {
		return dst, nil, errors.New("parley: encode arguments: an object looks like an attachment's placeholder")
	}
	return e.data, e.attachments, nil
}

func (e *argEncoder) append(arg any) error {
	switch v := arg.(type) {
	case nil:
		e.data = append(e.data, "null"...)
	case string:
		e.data = AppendString(e.data, v)
	case bool:
		e.data = strconv.AppendBool(e.data, v)
	case int:
		e.data = strconv.AppendInt(e.data, int64(v), 10)
	case int64:
		e.data = strconv.AppendInt(e.data, v, 10)
	case uint64:
		e.data = strconv.AppendUint(e.data, v, 10)
	case []byte:
		e.attach(v)
	case Binary:
		e.attach(v)
	case json.RawMessage:
		if v == nil {
			v = json.RawMessage("null")
		}
		if validate(v, depthCeiling) != nil {
			return errors.New("invalid json.RawMessage")
		}
		e.data = append(e.data, v...)
	default:
		return e.marshal(v)
	}
	return nil
}

func (e *argEncoder) attach(b []byte) {
	if b == nil {
		e.data = append(e.data, "null"...)
		return
	}
	e.data = appendPlaceholder(e.data, len(e.attachments))
	e.attachments = append(e.attachments, b)
}

// appender is a destination for a json.Encoder.
type appender []byte

func (a *appender) Write(b []byte) (int, error) {
	*a = append(*a, b...)
	return len(b), nil
}

// appendJSON appends v as encoding/json encodes it, without escaping HTML. On an error it returns
// dst.
func appendJSON(dst []byte, v any) ([]byte, error) {
	out := appender(dst)
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, err
	}
	return bytes.TrimSuffix(out, []byte("\n")), nil // Encode added the newline
}

// errError refuses an error value, which would say nothing as JSON.
var errError = errors.New("an error has no JSON; send its text, or a parley.Error")

func (e *argEncoder) marshal(arg any) error {
	if err, ok := arg.(error); ok {
		if b, _ := appendJSON(nil, err); string(b) == "{}" {
			return errError
		}
	}
	marked, marks, err := markBinary(arg, false)
	if err != nil {
		return err
	}
	if marks == nil {
		e.data, err = appendJSON(e.data, arg)
		return err
	}
	encoded, err := marks.encode(marked)
	if marks.entrusted {
		plain, plainErr := appendJSON(nil, arg)
		if plainErr != nil {
			return plainErr
		}
		if err != nil || !bytes.Equal(marks.undo(encoded), plain) {
			if marked, marks, err = markBinary(arg, true); err != nil {
				return err
			}
			if marks == nil {
				e.data = append(e.data, plain...)
				return nil
			}
			encoded, err = marks.encode(marked)
		}
	}
	if err != nil {
		return err
	}
	for {
		before, binary, after, found := marks.cut(encoded)
		e.data = append(e.data, before...)
		if !found {
			return nil
		}
		e.attach(binary)
		encoded = after
	}
}

// Decode decodes a JSON argument into v, as json.Unmarshal does. Attachments are those of the
// argument's packet. For a placeholder in the argument, v may have a []byte or [Binary], or a
// string or a json.RawMessage, which get base64. If v is a *any, each placeholder becomes a Binary,
// at any depth. What a *[]byte, *Binary or *any gets shares memory with the attachments.
func Decode(raw []byte, attachments [][]byte, v any) error {
	switch v := v.(type) {
	case *json.RawMessage:
		if len(attachments) > 0 {
			var err error
			if raw, err = inlineAttachments(raw, attachments); err != nil {
				return fmt.Errorf("parley: decode argument: %w", err)
			}
		}
		*v = raw[:len(raw):len(raw)]
		return nil
	case *string:
		if n := len(raw); n >= 2 && raw[0] == '"' && jsonscan.SkipPlain(raw, 1) == n-1 && raw[n-1] == '"' {
			*v = string(raw[1 : n-1])
			return nil
		}
	}
	if len(attachments) > 0 {
		p, err := nextPlaceholder(raw, 0)
		if err == nil && p.end == len(raw) && p.start == 0 && p.num < len(attachments) {
			switch v := v.(type) {
			case *[]byte:
				*v = attachments[p.num]
				return nil
			case *Binary:
				*v = attachments[p.num]
				return nil
			}
		}
		if v, ok := v.(*any); ok {
			if err := json.Unmarshal(raw, v); err != nil {
				return fmt.Errorf("parley: decode argument: %w", err)
			}
			*v, err = withBinaries(*v, attachments)
			return err
		}
		if raw, err = inlineAttachments(raw, attachments); err != nil {
			return fmt.Errorf("parley: decode argument: %w", err)
		}
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("parley: decode argument: %w", err)
	}
	return nil
}

// withBinaries returns v, which encoding/json has decoded, with attachments in place of the
// placeholders.
func withBinaries(v any, attachments [][]byte) (any, error) {
	var err error
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = withBinaries(v[i], attachments); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if v["_placeholder"] == true {
			num, ok := v["num"].(float64)
			if !ok || num < 0 || int(num) >= len(attachments) {
				return nil, errPlaceholder
			}
			return Binary(attachments[int(num)]), nil
		}
		for key := range v {
			if v[key], err = withBinaries(v[key], attachments); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// inlineAttachments replaces placeholders with base64 strings, which is how encoding/json writes
// []byte.
func inlineAttachments(raw []byte, attachments [][]byte) ([]byte, error) {
	var out []byte
	for i := 0; ; {
		p, err := nextPlaceholder(raw, i)
		if err != nil {
			return nil, err
		}
		if p.end == 0 {
			if i == 0 {
				return raw, nil
			}
			return append(out, raw[i:]...), nil
		}
		if p.num >= len(attachments) {
			return nil, errPlaceholder
		}
		out = append(out, raw[i:p.start]...)
		out = append(out, '"')
		out = base64.StdEncoding.AppendEncode(out, attachments[p.num])
		out = append(out, '"')
		i = p.end
	}
}
