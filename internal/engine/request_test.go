package engine_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

const (
	unknownTransport = `{"code":0,"message":"Transport unknown"}`
	unknownSession   = `{"code":1,"message":"Session ID unknown"}`
	badMethod        = `{"code":2,"message":"Bad handshake method"}`
	badRequest       = `{"code":3,"message":"Bad request"}`
	forbidden        = `{"code":4,"message":"Forbidden"}`
	badVersion       = `{"code":5,"message":"Unsupported protocol version"}`
)

// wantRefusal checks an answer that refuses a request, and its headers.
func wantRefusal(t *testing.T, a answer, status int, body string) {
	t.Helper()
	wantAnswer(t, a, status, body)
	contentType := "application/json"
	if !strings.HasPrefix(body, "{") {
		contentType = "text/html; charset=utf-8"
	}
	if got := a.header.Get("Content-Type"); got != contentType {
		t.Errorf("Content-Type %q, want %q", got, contentType)
	}
}

func TestRefusedHandshakes(t *testing.T) {
	for _, tt := range []struct {
		method, query string
		status        int
		body          string
	}{
		{"GET", "", 400, unknownTransport},
		{"GET", "EIO=4", 400, unknownTransport},
		{"GET", "EIO=4&transport=", 400, unknownTransport},
		{"GET", "EIO=4&transport=abc", 400, unknownTransport},
		{"GET", "EIO=4&transport=Polling", 400, unknownTransport},
		{"GET", "EIO=4&transport=__proto__", 400, unknownTransport},
		{"GET", "EIO=4&transport=webtransport", 400, unknownTransport},
		{"POST", newPolling, 400, badMethod},
		{"PUT", newPolling, 400, badMethod},
		{"DELETE", newPolling, 400, badMethod},
		{"PATCH", newPolling, 400, badMethod},
		{"HEAD", newPolling, 400, ""},
		{"GET", newWebSocket, 400, badRequest}, // not an upgrade
		{"GET", "EIO=3&transport=polling", 400, badVersion},
		{"GET", "EIO=5&transport=polling", 400, badVersion},
		{"GET", "EIO=abc&transport=polling", 400, badVersion},
		{"GET", "EIO=04&transport=polling", 400, badVersion},
		{"GET", "transport=polling", 400, badVersion},
		{"POST", "EIO=abc&transport=polling", 400, badMethod}, // the method is checked first
	} {
		bubble(t, tt.method+" "+tt.query, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			a := s.do(tt.method, tt.query, "")
			wantAnswer(t, a, tt.status, tt.body)
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			s.wantSessions(0)
		})
	}
}

func TestRequestsThatAreNotOfTheSession(t *testing.T) {
	for _, tt := range []struct {
		name, method, query string // SID stands for the session's id
		status              int
		body                string
	}{
		{"another transport", "GET", ofWebSocket("SID"), 400, badRequest},
		{"another transport, POST", "POST", ofWebSocket("SID"), 400, badRequest},
		{"another version", "GET", "EIO=3&transport=polling&sid=SID", 400, badRequest},
		{"no version", "POST", "transport=polling&sid=SID", 400, badRequest},
		{"unknown transport", "GET", "EIO=4&transport=abc&sid=SID", 400, unknownTransport},
		{"the last of two sids", "GET", newPolling + "&sid=SID&sid=other", 400, unknownSession},
		{"the last of two transports", "GET", "EIO=4&transport=polling&transport=abc&sid=SID", 400, unknownTransport},
		{"PUT", "PUT", ofPolling("SID"), 405, badRequest},
		{"DELETE", "DELETE", ofPolling("SID"), 405, badRequest},
		{"HEAD", "HEAD", ofPolling("SID"), 405, ""},
		{"OPTIONS", "OPTIONS", ofPolling("SID"), 204, ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			sid, o := s.open()
			a := s.do(tt.method, strings.ReplaceAll(tt.query, "SID", sid), "")
			wantAnswer(t, a, tt.status, tt.body)
			if allow := a.header.Get("Allow"); (allow == "GET, POST, OPTIONS") != (tt.status == 405) {
				t.Errorf("Allow %q", allow)
			}
			o.send("still here")
			wantAnswer(t, s.do("GET", newPolling+"&sid=other&sid="+sid, ""), 200, "4still here")
			o.session.Close()
			wantAnswer(t, s.poll(sid), 200, "1")
			s.wantSessions(0)
		})
	}
}

func TestOddSessionIDs(t *testing.T) {
	for name, odd := range map[string]string{
		"unknown":            "abc",
		"prefix":             "PREFIX",
		"longer":             "SIDx",
		"twice":              "SIDSID",
		"NUL":                "%00",
		"NUL behind":         "SID%00",
		"line break":         "SID%0d%0a",
		"space":              "+",
		"__proto__":          "__proto__",
		"constructor":        "constructor",
		"path":               "..%2f..%2fetc%2fpasswd",
		"invalid escape":     "%zz",
		"cut escape":         "SID%4",
		"invalid UTF-8":      "%ff%fe",
		"overlong UTF-8":     "%c0%80",
		"script":             "%3Cscript%3E",
		"an array":           "[]",
		"half a megabyte":    strings.Repeat("a", 500_000),
		"many escapes":       strings.Repeat("%41", 100_000),
		"full-width letters": "%EF%BC%A1",
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			sid, o := s.open()
			odd := strings.NewReplacer("SID", sid, "PREFIX", sid[:19]).Replace(odd)
			wantRefusal(t, s.do("GET", ofPolling(odd), ""), 400, unknownSession)
			wantRefusal(t, s.do("POST", ofPolling(odd), "4a"), 400, unknownSession)
			wantRefusal(t, s.refused(ofWebSocket(odd)), 400, "Session ID unknown")
			s.wantSessions(1)
			o.wantReceived()
			o.session.Close()
			s.poll(sid)
		})
	}
	bubble(t, "a megabyte", func(t *testing.T) { // exceeds net/http's own limit
		s := inMemory(t, engine.Options{})
		if a := s.do("GET", ofPolling(strings.Repeat("a", 2<<20)), ""); a.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d", a.status)
		}
	})
	bubble(t, "the same, escaped", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		wantAnswer(t, s.post(fmt.Sprintf("%%%02X%s", sid[0], sid[1:]), "4escaped"), 200, "ok")
		o.wantReceived("escaped")
		o.session.Close()
		s.poll(sid)
	})
}

// An empty sid counts as no sid.
func TestEmptySessionIDIsAHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		a := s.do("GET", newPolling+"&sid=", "")
		sid, o := parseOpen(t, a.body).SID, s.owner()
		o.session.Close()
		wantAnswer(t, s.poll(sid), 200, "1")
	})
}

func TestOpenPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		a := s.do("GET", newPolling, "")
		own := s.owner()
		want := `0{"sid":"` + own.session.ID() + `","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
		wantAnswer(t, a, 200, want)
		if len(own.session.ID()) != 20 || strings.Trim(own.session.ID(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("id %q, want 20 characters of base64url", own.session.ID())
		}
		for name, value := range map[string]string{"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": "no-store"} {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s %q, want %q", name, got, value)
			}
		}
		p := s.upgrade(newWebSocket)
		_, packet := p.read()
		ws := s.owner()
		want = `0{"sid":"` + ws.session.ID() + `","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
		if packet != want {
			t.Errorf("OPEN on a WebSocket: %s, want %s", packet, want)
		}
		p.Close()
		ws.wantEnded(engine.TransportClose)
		own.session.Close()
		s.poll(own.session.ID())
	})
}

func TestUpgradesAreAdvertisedIfPossible(t *testing.T) {
	for _, o := range []engine.Options{{NoUpgrades: true}, {Transports: []string{"polling"}}} {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t, o)
			a := s.do("GET", newPolling, "")
			own := s.owner()
			if up := parseOpen(t, a.body).Upgrades; len(up) != 0 || !strings.Contains(a.body, `"upgrades":[]`) {
				t.Errorf("OPEN: %s", a.body)
			}
			own.session.Close()
			s.poll(own.session.ID())
		})
	}
}

func TestTransportsThatAreNotAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Transports: []string{"websocket"}})
		wantRefusal(t, s.do("GET", newPolling, ""), 400, unknownTransport)
		p, _ := s.openWebSocket()
		p.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Transports: []string{"polling"}})
		wantRefusal(t, s.refused(newWebSocket), 400, "Transport unknown")
	})
}

func TestAllowRequest(t *testing.T) {
	for _, tt := range []struct {
		err             error
		status, upgrade int // a WebSocket is refused with 400, as in the reference
		body, plainText string
		retryAfter      string
	}{
		{errors.New("a secret"), 403, 400, forbidden, "Forbidden", ""},
		{&engine.Refusal{Message: "later", RetryAfter: 1500 * time.Millisecond}, 429, 429, `{"code":4,"message":"later"}`, "later", "2"},
		{&engine.Refusal{Message: `no "guests" <today>`}, 403, 400, `{"code":4,"message":"no \"guests\" \u003ctoday\u003e"}`, "no &#34;guests&#34; &lt;today&gt;", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			s := inMemory(t, engine.Options{AllowRequest: func(r *http.Request) error {
				asked++
				if r.Header.Get("Authorization") == "yes" {
					return nil
				}
				return tt.err
			}})
			poll, upgrade := s.do("GET", newPolling, ""), s.refused(newWebSocket)
			wantRefusal(t, poll, tt.status, tt.body)
			wantRefusal(t, upgrade, tt.upgrade, tt.plainText)
			if a, b := poll.header.Get("Retry-After"), upgrade.header.Get("Retry-After"); a != tt.retryAfter || b != tt.retryAfter {
				t.Errorf("Retry-After %q and %q, want %q", a, b, tt.retryAfter)
			}
			p := s.upgrade("EIO=4&transport=websocket", "Authorization", "yes")
			p.read()
			o := s.owner()
			if asked != 3 {
				t.Errorf("asked %d times, want 3", asked)
			}
			p.Close()
			o.wantEnded(engine.TransportClose)
			s.wantSessions(0)
			if n := s.Stats().RefusedInAll(); n != 2 {
				t.Errorf("%d refused, want 2", n)
			}
		})
	}
}

// AllowRequest decides on handshakes, not on every request of a session.
func TestAllowRequestIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := inMemory(t, engine.Options{AllowRequest: func(*http.Request) error { asked++; return nil }})
		sid, o := s.open()
		s.post(sid, "4a")
		p := s.upgradeFrom(sid)
		p.text("4b")
		p.Close()
		o.wantEnded(engine.TransportClose)
		if asked != 1 {
			t.Errorf("asked %d times, want 1", asked)
		}
	})
}

// Some HTTP libraries offer an upgrade to HTTP/2 with every request.
func TestPollsThatOfferAnotherProtocol(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		offer := []string{"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAAP__"}
		open := s.do("GET", newPolling, "", offer...)
		if open.status != 200 || !strings.HasPrefix(open.body, "0{") {
			t.Fatalf("handshake: %d %q", open.status, open.body)
		}
		o := s.owner()
		sid := o.session.ID()
		wantAnswer(t, s.do("POST", ofPolling(sid), "4a", offer...), 200, "ok")
		o.send("b")
		wantAnswer(t, s.do("GET", ofPolling(sid), "", offer...), 200, "4b")
		o.session.Close()
		wantAnswer(t, s.do("GET", ofPolling(sid), "", offer...), 200, "1")
	})
}
