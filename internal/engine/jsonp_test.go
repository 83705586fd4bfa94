package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
)

// form is the body of a POST in the form that clients send.
func form(payload string) string {
	payload = strings.ReplaceAll(payload, `\n`, "\\\n")
	payload = strings.ReplaceAll(payload, "\n", `\n`)
	return url.Values{"d": {payload}}.Encode()
}

const formType = "application/x-www-form-urlencoded"

// wantScript checks that an answer calls the callback with the payload.
func wantScript(t testing.TB, a answer, callback, payload string) {
	t.Helper()
	quoted, ok := strings.CutPrefix(a.body, "/**/"+callback+"(")
	quoted, ends := strings.CutSuffix(quoted, ");")
	var got string
	if err := json.Unmarshal([]byte(quoted), &got); a.status != 200 || !ok || !ends || err != nil || got != payload {
		t.Errorf("answer %d %.200q, want %s(%q)", a.status, a.body, callback, payload)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/javascript; charset=UTF-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// openJSONP begins a session in either revision.
func (s *server) openJSONP(eio, j string) (query string, o *owner) {
	s.t.Helper()
	q := "EIO=" + eio + "&transport=polling&j=" + j
	a := s.do("GET", q, "")
	o = s.owner()
	packet, _ := strings.CutPrefix(a.body, `/**/___eio[`+j+`]("`)
	if eio == "3" {
		_, packet, _ = strings.Cut(packet, ":")
	}
	id := o.session.ID()
	if a.status != 200 || !strings.HasPrefix(packet, `0{\"sid\":\"`+id+`\"`) || !strings.HasSuffix(packet, `}");`) {
		s.t.Fatalf("handshake: %d %s", a.status, a.body)
	}
	return q + "&sid=" + id, o
}

func TestJSONP(t *testing.T) {
	for _, tt := range []struct{ eio, sent, got string }{
		{"4", "4€😀\u2028\u2029</script>&\x1e4\\\x1e4\\n\x1e4\n\x1e4\\\\n\x1ebAQIDBA==", "4€😀\u2028\u2029</script>&\x1e4\\\x1e4\\n\x1e4\n\x1e4\\\\n\x1ebAQIDBA=="},
		{"3", "16:4€😀\u2028\u2029</script>&3:4\\n2:4\n10:b4AQIDBA==", "16:4€😀\u2028\u2029</script>&3:4\\n2:4\n10:b4AQIDBA=="},
	} {
		bubble(t, "EIO="+tt.eio, func(t *testing.T) {
			s := inMemory(t, engine.Options{AllowEIO3: true, JSONP: true, Open: echo})
			q, o := s.openJSONP(tt.eio, "7")
			a := s.do("POST", q, form(tt.sent), "Content-Type", formType)
			wantAnswer(t, a, 200, "ok")
			if got := a.header.Get("Content-Type"); got != "text/html" {
				t.Errorf("Content-Type of the answer to a POST: %q", got)
			}
			a = s.do("GET", strings.Replace(q, "j=7", "j=8);alert(1", 1), "") // the server ignores a later j
			wantScript(t, a, "___eio[7]", tt.got)
			if strings.ContainsAny(a.body, "\u2028\u2029<>&") {
				t.Errorf("not escaped: %q", a.body)
			}
			o.wantOpen()

			p := s.upgrade(strings.Replace(q, "polling&j=7", "websocket", 1))
			poll := s.later(q)
			p.text("2probe")
			p.wantText("3probe")
			noop := map[string]string{"3": "1:6", "4": "6"}[tt.eio]
			wantScript(t, <-poll, "___eio[7]", noop)
			p.text("5", "4on")
			p.wantText("4on")
			wantRefusal(t, s.do("GET", q, ""), 400, badRequest)
		})
	}
}

func TestJSONPCallbacks(t *testing.T) {
	for _, j := range []string{"", "a", "0)", "0];alert(1", "-1", "1.0", "1e3", "0x1", "%201", "%00", "%EF%BC%91", "12345678901", strings.Repeat("1", 5000)} {
		bubble(t, "j="+j[:min(len(j), 12)], func(t *testing.T) {
			s := inMemory(t, engine.Options{JSONP: true})
			wantRefusal(t, s.do("GET", newPolling+"&j="+j, ""), 400, badRequest)
			s.wantSessions(0)
		})
	}
	bubble(t, "the longest", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true})
		s.openJSONP("4", "0123456789")
	})
	bubble(t, "off", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		wantRefusal(t, s.do("GET", newPolling+"&j=0", ""), 400, unknownTransport)
		s.wantSessions(0)
	})
	bubble(t, "of a session without", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true, Open: echo})
		sid, _ := s.open()
		wantAnswer(t, s.post(sid, "4a"), 200, "ok")
		wantAnswer(t, s.do("GET", ofPolling(sid)+"&j=0", ""), 200, "4a")
	})
}

func TestJSONPForms(t *testing.T) {
	const open = engine.Reason("")
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		received                []string
		fate                    engine.Reason
	}{
		{"a message", formType, "d=4abc", 200, []string{"abc"}, open},
		{"plus and escapes", formType, "d=4a+b%2B%e2%82%ac", 200, []string{"a b+€"}, open},
		{"other fields", formType, "x=4no&d=4a&d=4b", 200, []string{"a"}, open},
		{"many fields", formType, strings.Repeat("&", 100_000) + "d=4a", 200, []string{"a"}, open},
		{"as text", "text/plain", "d=4a", 200, []string{"a"}, open},

		{"nothing", formType, "", 200, nil, engine.ParseError},
		{"no field", formType, "4abc", 200, nil, engine.ParseError},
		{"an empty field", formType, "d=", 200, nil, engine.ParseError},
		{"another field", formType, "dd=4a", 200, nil, engine.ParseError},
		{"a field without a value", formType, "d", 200, nil, engine.ParseError},
		{"a field in capitals", formType, "D=4a", 200, nil, engine.ParseError},
		{"semicolons", formType, "x=1;d=4a", 200, nil, engine.ParseError},
		{"the second field", formType, "d=&d=4a", 200, nil, engine.ParseError},
		{"many parts", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"d\"\r\n\r\n4a\r\n--x--\r\n", 200, nil, engine.ParseError},
		{"JSON", "application/json", `{"d":"4a"}`, 200, nil, engine.ParseError},
		{"a ping", formType, "d=2", 200, nil, engine.TransportError},
		{"close", formType, "d=1", 200, nil, engine.TransportClose},
		{"a broken escape", formType, "d=4%zz", 200, nil, engine.ParseError},
		{"an escape cut off", formType, "d=4%a", 200, nil, engine.ParseError},
		{"invalid UTF-8", formType, "d=4%ff", 200, nil, engine.ParseError},
		{"garbage", formType, "d=abc", 200, nil, engine.ParseError},
		{"bytes", "application/octet-stream", "d=4a", 400, nil, engine.TransportError},
		{"too large", formType, "d=4" + strings.Repeat("x", 1_000_000), 413, nil, open},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{JSONP: true})
			q, o := s.openJSONP("4", "0")
			poll := s.later(q)
			body := ""
			if tt.status == 200 {
				body = "ok"
			}
			wantAnswer(t, s.do("POST", q, tt.body, "Content-Type", tt.contentType), tt.status, body)
			o.wantReceived(tt.received...)
			farewell := "1"
			switch tt.fate {
			case open:
				o.wantOpen()
				o.session.Close()
			case engine.TransportClose:
				farewell = "6"
				fallthrough
			default:
				o.wantEnded(tt.fate)
			}
			wantScript(t, <-poll, "___eio[0]", farewell)
			s.wantNothingLeft()
			wantRefusal(t, s.do("GET", q, ""), 400, unknownSession)
		})
	}
	bubble(t, "bytes, in revision 3", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true, AllowEIO3: true})
		q, o := s.openJSONP("3", "0")
		wantAnswer(t, s.do("POST", q, "\x00\x02\xff4a", "Content-Type", "application/octet-stream"), 400, "")
		o.wantEnded(engine.TransportError)
	})
}

// A page of another site gets nothing with a script, for which browsers send no Origin.
func TestJSONPOrigins(t *testing.T) {
	listed := origin.Policy{Origins: []string{"https://friend.example"}}
	for _, tt := range []struct {
		name, site, referer string
		cors                origin.Policy
		status              int
	}{
		{"a page in confidence over plain HTTP, or a program", "", "", origin.Policy{}, 403},
		{"the same, of the future", "unheard-of", "", origin.Policy{}, 403},
		{"the same, if everybody may", "", "", origin.Policy{Origins: []string{"*"}}, 200},
		{"a person", "none", "", origin.Policy{}, 200},
		{"our page", "same-origin", "http://parley.test/chat", origin.Policy{}, 200},
		{"our page, in confidence", "same-origin", "", origin.Policy{}, 200},
		{"our page, of an old browser", "", "http://parley.test/chat", origin.Policy{}, 200},
		{"another site", "cross-site", "https://evil.example/", origin.Policy{}, 403},
		{"another site, in confidence", "cross-site", "", origin.Policy{}, 403},
		{"another site, of an old browser", "", "https://evil.example/", origin.Policy{}, 403},
		{"a neighbour", "same-site", "http://www.parley.test/", origin.Policy{}, 403},
		{"no address", "cross-site", "about:blank", origin.Policy{}, 403},
		{"nonsense", "cross-site", ":", origin.Policy{}, 403},
		{"a friend", "cross-site", "https://friend.example/page", listed, 200},
		{"a friend, in confidence", "cross-site", "", listed, 403},
		{"not a friend", "cross-site", "https://evil.example/https://friend.example", listed, 403},
		{"anybody", "cross-site", "https://evil.example/", origin.Policy{Origins: []string{"*"}}, 200},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{JSONP: true, CORS: tt.cors})
			s.host = "parley.test"
			var header []string
			if tt.site != "" {
				header = append(header, "Sec-Fetch-Site", tt.site)
			}
			if tt.referer != "" {
				header = append(header, "Referer", tt.referer)
			}
			a := s.do("GET", newPolling+"&j=0", "", header...)
			if a.status != tt.status {
				t.Errorf("status %d, want %d", a.status, tt.status)
			}
			if tt.status == 403 {
				wantRefusal(t, a, 403, `{"code":4,"message":"Origin not allowed"}`)
				s.wantSessions(0)
			}
		})
	}
	for host, status := range map[string]int{"127.0.0.1:80": 200, "localhost": 200, "[::1]": 200, "parley.test": 403, "192.0.2.1": 403} {
		for _, secure := range []bool{false, true} {
			bubble(t, fmt.Sprintf("says nothing, to %s, secure %v", host, secure), func(t *testing.T) {
				s := inMemory(t, engine.Options{JSONP: true, ClientSecure: func(*http.Request) bool { return secure }})
				s.host = host
				want := status
				if secure {
					want = 200
				}
				if a := s.do("GET", newPolling+"&j=0", ""); a.status != want {
					t.Errorf("status %d, want %d", a.status, want)
				}
				if a := s.do("GET", newPolling+"&j=0", "", "Sec-Fetch-Site", "cross-site"); a.status != 403 {
					t.Errorf("from another site: status %d", a.status)
				}
			})
		}
	}
	bubble(t, "a form of another site", func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true})
		q, o := s.openJSONP("4", "0")
		for _, origin := range []string{"https://evil.example", "null"} {
			a := s.do("POST", q, "d=4a", "Origin", origin, "Sec-Fetch-Site", "cross-site", "Referer", "http://parley.test/")
			wantRefusal(t, a, 403, `{"code":4,"message":"Origin not allowed"}`)
		}
		o.wantReceived()
		wantAnswer(t, s.do("POST", q, "d=4a", "Origin", "null", "Sec-Fetch-Site", "same-origin"), 200, "ok")
		o.wantReceived("a") // one of our own pages, which sends no referrers
		o.wantOpen()
	})
}

func TestJSONPIsCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{JSONP: true})
		q, o := s.openJSONP("4", "0")
		o.send(long(10_000))
		a := s.do("GET", q, "", "Accept-Encoding", "gzip")
		if a.header.Get("Content-Encoding") != "gzip" || a.header.Get("Content-Type") != "text/javascript; charset=UTF-8" || len(a.body) > 1000 {
			t.Errorf("%d bytes, %v", len(a.body), a.header)
		}
	})
}

// Decoding restores what a client has escaped; other input does no harm.
func FuzzFormData(f *testing.F) {
	for _, s := range []string{"", "4a", "4\\n", "4\n", "4\\\\n", "4\\\n\\n", "d=4a&d=4b", "%", "%zz", "+", "n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ambiguous := strings.Contains(s, "\\\n") // a backslash and a newline, which clients send as \n
		if got, ok := engine.FormData([]byte(form(s))); !ok || string(got) != s && !ambiguous {
			t.Errorf("%q came as %q, %v", s, got, ok)
		}
		if got, _ := engine.FormData([]byte(s)); len(got) > len(s) {
			t.Errorf("%q decodes to %q", s, got)
		}
	})
}

// Decoding a form takes linear time, and no more memory than a small multiple of it, whatever is in it.
func TestOddForms(t *testing.T) {
	const size = 8 << 20 // quadratic time would take hours
	for name, unit := range map[string]string{
		"fields": "a&", "empty fields": "&", "other names": "dd=1&", "escapes": "%25", "broken escapes": "%2", "newlines": `%5Cn`, "backslashes": `%5C`, "both": `%5C%5Cn`, "plain": `\\n`, "pluses": "+", "semicolons": ";",
	} {
		body := []byte(strings.Repeat(unit, size/len(unit)))
		for _, form := range [][]byte{body, append([]byte("d="), body...), append(body[:len(body):len(body)], "&d=4a"...)} {
			payload, ok := engine.FormData(form)
			if ok && len(payload) > len(form) {
				t.Errorf("%s: %d bytes of %d", name, len(payload), len(form))
			}
		}
	}
}
