package ws_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/ws"
)

func TestNegotiateDeflate(t *testing.T) {
	tests := []struct {
		name   string
		offer  string
		c      ws.Compression
		answer string // without the name; "-" if declined
	}{
		{"bare", "permessage-deflate", ws.Compression{}, ""},
		{"browser", "permessage-deflate; client_max_window_bits", ws.Compression{}, ""},
		{"server takeover refused by client", "permessage-deflate; server_no_context_takeover", ws.Compression{}, "; server_no_context_takeover"},
		{"client hint", "permessage-deflate; client_no_context_takeover", ws.Compression{}, "; client_no_context_takeover"},
		{"server window", "permessage-deflate; server_max_window_bits=9", ws.Compression{}, "; server_max_window_bits=9"},
		{"server window 8", "permessage-deflate; server_max_window_bits=8", ws.Compression{}, "; server_max_window_bits=8"},
		{"server window 15", "permessage-deflate; server_max_window_bits=15", ws.Compression{}, "; server_max_window_bits=15"},
		{"server window quoted", `permessage-deflate; server_max_window_bits="10"`, ws.Compression{}, "; server_max_window_bits=10"},
		{"client window", "permessage-deflate; client_max_window_bits=9", ws.Compression{}, "; client_max_window_bits=9"},
		{"all", "permessage-deflate; client_max_window_bits=10; server_max_window_bits=11; client_no_context_takeover; server_no_context_takeover", ws.Compression{},
			"; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=10"},
		{"no spaces", "permessage-deflate;client_max_window_bits;server_max_window_bits=11", ws.Compression{}, "; server_max_window_bits=11"},
		{"second offer", "permessage-deflate; server_max_window_bits=16, permessage-deflate", ws.Compression{}, ""},
		{"other extensions", "x-webkit-deflate-frame, foo; bar=\"b\", permessage-deflate", ws.Compression{}, ""},
		{"empty elements", ", permessage-deflate ,,", ws.Compression{}, ""},

		{"server's wishes", "permessage-deflate; client_max_window_bits", ws.Compression{NoServerContextTakeover: true, NoClientContextTakeover: true, ServerMaxWindowBits: 12, ClientMaxWindowBits: 11},
			"; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=11"},
		{"client window not offered", "permessage-deflate", ws.Compression{ClientMaxWindowBits: 11}, ""},
		{"smaller of both", "permessage-deflate; client_max_window_bits=10; server_max_window_bits=14", ws.Compression{ServerMaxWindowBits: 12, ClientMaxWindowBits: 11}, "; server_max_window_bits=12; client_max_window_bits=10"},

		{"nothing", "", ws.Compression{}, "-"},
		{"another extension", "permessage-bzip2", ws.Compression{}, "-"},
		{"unknown parameter", "permessage-deflate; foo", ws.Compression{}, "-"},
		{"parameter twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", ws.Compression{}, "-"},
		{"value where none belongs", "permessage-deflate; server_no_context_takeover=1", ws.Compression{}, "-"},
		{"server window without value", "permessage-deflate; server_max_window_bits", ws.Compression{}, "-"},
		{"window 7", "permessage-deflate; server_max_window_bits=7", ws.Compression{}, "-"},
		{"window 16", "permessage-deflate; client_max_window_bits=16", ws.Compression{}, "-"},
		{"leading zero", "permessage-deflate; client_max_window_bits=09", ws.Compression{}, "-"},
		{"sign", "permessage-deflate; client_max_window_bits=+9", ws.Compression{}, "-"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, handshake+"Sec-WebSocket-Extensions: "+test.offer+"\r\n")
			a, err := ws.Accept(r, &ws.AcceptOptions{Compression: &test.c})
			if err != nil {
				t.Fatal(err)
			}
			_, answer, found := strings.Cut(string(a.AppendResponse(nil)), "Sec-WebSocket-Extensions: permessage-deflate")
			answer, _, _ = strings.Cut(answer, "\r\n")
			if !found {
				answer = "-"
			}
			if answer != test.answer {
				t.Errorf("answer %q, want %q", answer, test.answer)
			}
			if found != (a.Deflate != nil) {
				t.Errorf("Deflate is %v", a.Deflate)
			}
		})
	}
}

func TestDeflateDefaults(t *testing.T) {
	r := request(t, handshake+"Sec-WebSocket-Extensions: permessage-deflate\r\n")
	a, err := ws.Accept(r, &ws.AcceptOptions{Compression: &ws.Compression{}})
	if err != nil {
		t.Fatal(err)
	}
	want := &ws.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15, Threshold: 1024}
	if !reflect.DeepEqual(a.Deflate, want) {
		t.Errorf("got %+v, want %+v", a.Deflate, want)
	}
}

func TestMalformedExtensions(t *testing.T) {
	for _, value := range []string{
		"foo bar", "foo;", "foo; ", "foo;;bar", "foo; bar=", "foo; =1", "foo; bar=\"", "foo; bar=\"a b\"",
		"foo; bar=\"\"", "foo; bar=(1)", "=", ";", "foo/bar", "\"foo\"", "foo, bar;",
		strings.Repeat("a,", 101), "a" + strings.Repeat(";b", 101),
	} {
		r := request(t, handshake+"Sec-WebSocket-Extensions: "+value+"\r\n")
		_, err := ws.Accept(r, nil)
		var refused *ws.HandshakeError
		if !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("%.40q: %v, want status 400", value, err)
		}
	}
}
