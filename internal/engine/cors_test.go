package engine_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
)

const originRefused = `{"code":4,"message":"Origin not allowed"}`

// The host is parley.test in all of these tests.
func TestOrigins(t *testing.T) {
	none := origin.Policy{}
	listed := origin.Policy{Origins: []string{"https://example.com", "http://dev.test:3000"}}
	withCredentials := origin.Policy{Origins: listed.Origins, Credentials: true}
	anyone := origin.Policy{Origins: []string{"*"}}
	chosen := origin.Policy{AllowOrigin: func(o string, _ *http.Request) bool { return strings.HasSuffix(o, ".example.com") }, Credentials: true}

	const refused = "-"
	for _, tt := range []struct {
		cors   origin.Policy
		origin string
		want   string // Access-Control-Allow-Origin, or refused
	}{
		{none, "", ""},
		{none, "http://parley.test", ""},
		{none, "https://parley.test", ""}, // behind a proxy the server does not know the scheme
		{none, "http://PARLEY.test", ""},
		{none, "http://parley.test:80", ""},
		{none, "null", refused},
		{none, "http://parley.test:8080", refused},
		{none, "http://www.parley.test", refused},
		{none, "http://parley.test.evil.test", refused},
		{none, "http://evilparley.test", refused},
		{none, "http://parley.test@evil.test", refused},
		{none, "http://evil.test/parley.test", refused},
		{none, "ftp://parley.test", refused},
		{none, "parley.test", refused},
		{none, "file://", refused},
		{none, "https://example.com", refused},

		{listed, "", ""},
		{listed, "http://parley.test", ""},
		{listed, "https://example.com", "https://example.com"},
		{listed, "http://dev.test:3000", "http://dev.test:3000"},
		{listed, "HTTPS://EXAMPLE.COM", "HTTPS://EXAMPLE.COM"},
		{listed, "http://example.com", refused},
		{listed, "https://example.com:444", refused},
		{listed, "https://www.example.com", refused},
		{listed, "https://example.com.evil.test", refused},
		{listed, "https://evilexample.com", refused},
		{listed, "https://example.com/", refused},
		{listed, "http://dev.test", refused},
		{listed, "null", refused},

		{withCredentials, "https://example.com", "https://example.com"},
		{withCredentials, "https://www.example.com", refused},

		{anyone, "", "*"},
		{anyone, "https://example.com", "*"},
		{anyone, "null", "*"},

		{chosen, "https://www.example.com", "https://www.example.com"},
		{chosen, "https://example.com", refused},
		{chosen, "null", refused},
	} {
		name := strings.Join(tt.cors.Origins, " ") + "/" + tt.origin
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{CORS: tt.cors})
			var header []string
			if tt.origin != "" {
				header = []string{"Origin", tt.origin}
			}
			wantHeader := func(what string, h http.Header, name, want string) {
				t.Helper()
				if got := h.Get(name); got != want {
					t.Errorf("%s: %s %q, want %q", what, name, got, want)
				}
			}
			allowed := tt.want
			if allowed == refused {
				allowed = ""
			}
			credentials := ""
			if allowed != "" && tt.cors.Credentials {
				credentials = "true"
			}

			poll := s.do("GET", newPolling, "", header...)
			preflight := s.do("OPTIONS", newPolling, "", append(header, "Access-Control-Request-Method", "POST")...)
			for what, a := range map[string]answer{"polling": poll, "preflight": preflight} {
				wantHeader(what, a.header, "Access-Control-Allow-Origin", allowed)
				wantHeader(what, a.header, "Access-Control-Allow-Credentials", credentials)
				if vary := a.header.Get("Vary"); (vary == "Origin") != (tt.cors.AllowOrigin != nil || len(tt.cors.Origins) > 1) {
					t.Errorf("%s: Vary %q", what, vary)
				}
			}
			if tt.want == refused {
				wantRefusal(t, poll, 403, originRefused)
				wantRefusal(t, preflight, 403, originRefused)
				wantRefusal(t, s.refused(newWebSocket, header...), 403, "Origin not allowed")
				s.wantSessions(0)
				return
			}
			wantAnswer(t, preflight, 204, "")
			wantHeader("preflight", preflight.header, "Access-Control-Allow-Methods", "GET, POST")
			sid, o := parseOpen(t, poll.body).SID, s.owner()
			p, _ := s.openWebSocket(header...)
			p.Close()
			o.session.Close()
			s.poll(sid)
		})
	}
}

// A page that is not allowed cannot use a session that an allowed page has opened.
func TestOriginIsCheckedForEachRequest(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		evil := []string{"Origin", "https://evil.test"}
		wantRefusal(t, s.do("GET", ofPolling(sid), "", evil...), 403, originRefused)
		wantRefusal(t, s.do("POST", ofPolling(sid), "4a", evil...), 403, originRefused)
		wantRefusal(t, s.refused(ofWebSocket(sid), evil...), 403, "Origin not allowed")
		wantRefusal(t, s.do("GET", newPolling, "", "Origin", "http://parley.test", "Origin", "http://parley.test"), 403, originRefused)
		o.wantReceived()
		o.session.Close()
		s.poll(sid)
	})
}

// What a page of another site loads without a script, such as an image, has no origin. It makes no
// session, and it reaches none.
func TestRequestsWithoutOrigin(t *testing.T) {
	listed := origin.Policy{Origins: []string{"https://example.com"}}
	anyone := origin.Policy{Origins: []string{"*"}}
	for _, tt := range []struct {
		cors    origin.Policy
		header  []string
		allowed bool
	}{
		{origin.Policy{}, []string{"Sec-Fetch-Site", "same-origin"}, true},
		{origin.Policy{}, []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, true}, // a person
		{origin.Policy{}, []string{"Sec-Fetch-Site", "of the future"}, true},
		{origin.Policy{}, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		{origin.Policy{}, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, false},
		{origin.Policy{}, []string{"Sec-Fetch-Site", "same-site"}, false},
		{origin.Policy{}, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		{origin.Policy{}, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://example.com"}, false},
		{listed, []string{"Sec-Fetch-Site", "cross-site"}, false},
		{listed, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://example.com"}, true},
		{listed, []string{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.test"}, false},
		{anyone, []string{"Sec-Fetch-Site", "cross-site"}, true},
	} {
		bubble(t, strings.Join(tt.header, " "), func(t *testing.T) {
			s := inMemory(t, engine.Options{CORS: tt.cors, AllowEIO3: true})
			if tt.allowed {
				sid := parseOpen(t, s.do("GET", newPolling, "", tt.header...).body).SID
				s.owner().session.Close()
				wantAnswer(t, s.do("GET", ofPolling(sid), "", tt.header...), 200, "1")
				f, _, o := s.openSSE(tt.header...)
				o.session.Close()
				f.want("1")
				f.wantEnd()
				p, o := s.openWebSocket(tt.header...)
				p.Close()
				o.wantEnded(engine.TransportClose)
				return
			}
			for _, query := range []string{newPolling, newPolling3, newSSE} {
				wantRefusal(t, s.do("GET", query, "", tt.header...), 403, originRefused)
			}
			for _, query := range []string{newWebSocket, newWebSocket3} {
				wantRefusal(t, s.refused(query, tt.header...), 403, "Origin not allowed")
			}
			s.wantSessions(0)
			sid, o := s.open()
			wantRefusal(t, s.do("GET", ofPolling(sid), "", tt.header...), 403, originRefused)
			wantRefusal(t, s.do("POST", ofPolling(sid), "4a", tt.header...), 403, originRefused)
			wantRefusal(t, s.refused(ofWebSocket(sid), tt.header...), 403, "Origin not allowed")
			o.wantReceived()
			o.session.Close()
			s.poll(sid)
		})
	}
}

func TestPreflight(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{CORS: origin.Policy{
			Origins: []string{"https://example.com"}, Headers: []string{"Authorization", "X-Tenant"}, MaxAge: 10 * time.Minute,
		}})
		a := s.do("OPTIONS", newPolling, "", "Origin", "https://example.com")
		for name, want := range map[string]string{
			"Access-Control-Allow-Headers": "Content-Type, Authorization, X-Tenant",
			"Access-Control-Max-Age":       "600",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s %q, want %q", name, got, want)
			}
		}
	})
}

func TestAnyOriginWithCredentialsIsAnError(t *testing.T) {
	_, err := engine.NewServer(engine.Options{CORS: origin.Policy{Origins: []string{"https://example.com", "*"}, Credentials: true}})
	if err == nil {
		t.Error("no error")
	}
}

func TestCookie(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		configured := &http.Cookie{Name: "io", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
		s := inMemory(t, engine.Options{Cookie: configured})
		a := s.do("GET", newPolling, "")
		sid, o := parseOpen(t, a.body).SID, s.owner()
		if got, want := a.header.Get("Set-Cookie"), "io="+sid+"; Path=/; HttpOnly; SameSite=Lax"; got != want {
			t.Errorf("Set-Cookie %q, want %q", got, want)
		}
		p := s.upgrade(ofWebSocket(sid)) // it has the cookie already
		if got := p.resp.Header.Get("Set-Cookie"); got != "" {
			t.Errorf("Set-Cookie %q at the upgrade", got)
		}
		p.Close()
		o.session.Close()
		if got := s.poll(sid).header.Get("Set-Cookie"); got != "" {
			t.Errorf("Set-Cookie %q with a poll", got)
		}
		p, o = s.openWebSocket()
		if got, want := p.resp.Header.Get("Set-Cookie"), "io="+o.session.ID()+"; Path=/; HttpOnly; SameSite=Lax"; got != want {
			t.Errorf("Set-Cookie %q, want %q", got, want)
		}
		p.Close()
		if configured.Value != "" {
			t.Error("the options were changed")
		}
	})
}
