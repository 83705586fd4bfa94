package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/tokentest"
)

// Without an identity, a closed server answers nothing but the probes, its page, and what gives an
// identity.
func TestClosedToTheUnknown(t *testing.T) {
	d := startClosed(t)
	d.operators()
	for path, want := range map[string]int{
		"/": 200, "/parley.js": 200, "/feed.js": 200, "/certificate-hash": 200,
		"/healthz": 200, "/readyz": 200, "/nothing": 404,
		"/metrics": 401, "/openapi.json": 401, "/api/me": 401, "/api/sessions": 401, "/api/nothing": 404,
		"/rooms/lounge/events": 401, "/rooms/c_1/events": 401, "/rooms/~notes%2Fc_1/events": 401,
	} {
		if status, body, _ := d.request("GET", path, nil, ""); status != want {
			t.Errorf("GET %s: %d %.200s, want %d", path, status, body, want)
		}
	}
	for path, want := range map[string]int{
		"/api/visitors": 201, "/api/session": 401, "/api/tickets": 401, "/api/me/password": 401, "/metrics": 405, "/": 405, "/rooms/lounge/events": 405,
	} {
		body := `{"login":"ann","password":"wrong password","newPassword":"another password","path":"/rooms/lounge/events"}`
		if path == "/api/visitors" {
			body = "{}"
		}
		if status, answer, _ := d.request("POST", path, nil, body); status != want {
			t.Errorf("POST %s: %d %.200s, want %d", path, status, answer, want)
		}
	}
	for name := range transports {
		_, err := d.connect(name, shows{})
		if code := codeOf(err); code != string(conversation.BadToken) {
			t.Errorf("%s: %v", name, err)
		}
		_, err = d.connect(name, shows{auth: `{"userId":"u7","operatorId":"ann","name":"Ann"}`})
		if code := codeOf(err); code != string(conversation.BadToken) {
			t.Errorf("%s, with claims: %v", name, err)
		}
	}
}

// codeOf returns the code with which a CONNECT was refused.
func codeOf(err error) string {
	var refused *refusedError
	if errors.As(err, &refused) {
		return refused.code
	}
	return ""
}

// Metrics are for admins.
func TestMetricsNeedAnAdmin(t *testing.T) {
	d := startClosed(t)
	d.operators()
	for name, tt := range map[string]struct {
		who  shows
		want int
	}{
		"a user":             {withBearer(tokenOf("u7", "")), 403},
		"an operator":        {withBearer(tokenOf("bob", asOperator)), 403},
		"an admin":           {withBearer(tokenOf("eve", asAdmin)), 200},
		"an admin's session": {withCookie(d.signIn("root")), 200},
		"another session":    {withCookie(d.signIn("ann")), 403},
	} {
		if status, body, _ := d.request("GET", "/metrics", tt.who.header, ""); status != tt.want {
			t.Errorf("%s: %d %.100s, want %d", name, status, body, tt.want)
		}
	}
}

// Every bad token is refused at every door with its code, and every good one passes.
func TestTokensAtEveryDoor(t *testing.T) {
	tokens := tokentest.New()
	verifier, err := jwtauth.New(&tokens.Options)
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	d := startClosed(t)
	app.SetVerifier(d.server, verifier)

	check := func(of tokentest.Case, want string) {
		t.Helper()
		for name := range transports {
			if strings.ContainsAny(of.Token, "\n\x00") && of.Token != "" {
				continue // in auth it is escaped, which the loop below does for the header
			}
			c, err := d.connect(name, withToken(of.Token))
			if code := codeOf(err); code != want || (err == nil) != (want == "") {
				t.Errorf("%s: %s over %s", of.Name, cmpErr(err), name)
			}
			if c != nil {
				c.close()
			}
		}
		header := http.Header{"Authorization": {"Bearer " + of.Token}}
		if strings.Contains(of.Token, "\n") {
			return // no client can send it
		}
		status := 200
		if want != "" {
			status = conversation.Code(want).Status()
		}
		for _, path := range []string{"/api/me", "/rooms/news/events"} {
			got := 200
			var body []byte
			if path == "/api/me" {
				got, body, _ = d.request("GET", path, header, "")
			} else if f, err := d.feed(path, header); err != nil {
				got = err.(*httpError).status
			} else {
				f.resp.Body.Close()
			}
			if got != status {
				t.Errorf("%s: %s: %d, want %d", of.Name, path, got, status)
			}
			if want != "" && body != nil && !strings.Contains(string(body), `"`+want+`"`) {
				t.Errorf("%s: %s: %s, want %s", of.Name, path, body, want)
			}
		}
	}
	if len(tokens.Bad) < 100 {
		t.Errorf("only %d bad tokens", len(tokens.Bad))
	}
	for _, bad := range tokens.Bad {
		if bad.Name == "space before it" {
			continue // a header may have more spaces; see below for auth
		}
		check(bad, bad.Code)
	}
	for _, good := range tokens.Good {
		check(good, "")
	}
	for name := range transports {
		if _, err := d.connect(name, withToken(" "+tokens.Good[0].Token)); codeOf(err) != jwtauth.BadToken {
			t.Errorf("space before a token over %s: %v", name, err)
		}
	}
}

func cmpErr(err error) string {
	if err == nil {
		return "accepted"
	}
	return err.Error()
}

// The largest token fits into the header of a handshake, on every transport, and into auth.
func TestLargestToken(t *testing.T) {
	d := startClosed(t)
	large := tokenOf("u7", `,"x":"`+strings.Repeat("x", 5800)+`"`)
	if len(large) < 7<<10 || len(large) > 8<<10 {
		t.Fatalf("%d bytes", len(large))
	}
	for name := range transports {
		for kind, who := range map[string]shows{"auth": withToken(large), "header": withBearer(large)} {
			if _, err := d.connect(name, who); err != nil {
				t.Errorf("%s over %s: %v", kind, name, err)
			}
		}
	}
}

// Clients of Engine.IO 3 have no auth in CONNECT: they show a header, or a ticket.
func TestOldClientsProveThemselves(t *testing.T) {
	d := startClosed(t)
	good := tokenOf("u7", "")
	for name, tt := range map[string]struct {
		who shows
		ok  bool
	}{
		"a header":         {withBearer(good), true},
		"a bad header":     {withBearer(good + "x"), false},
		"a ticket":         {shows{query: "&ticket=" + d.ticket(withBearer(good).header, "/socket.io/")}, true},
		"a ticket of else": {shows{query: "&ticket=" + d.ticket(withBearer(good).header, "/rooms/lounge/events")}, false},
		"a made-up ticket": {shows{query: "&ticket=AAAAAAAAAAAAAAAAAAAAAAAAAAA"}, false},
		"a token as query": {shows{query: "&token=" + good}, false},
		"nothing":          {shows{}, false},
	} {
		l, err := d.pollingOf(t.Context(), 3, tt.who)
		if err != nil {
			t.Fatal(err)
		}
		l.read() // OPEN
		answer, err := l.read()
		if ok := answer == "40"; ok != tt.ok || err != nil {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		if !tt.ok && !strings.Contains(answer, string(conversation.BadToken)) {
			t.Errorf("%s: refused with %q", name, answer)
		}
		l.close()
	}
}

// A ticket opens one connection.
func TestTicketOpensOneConnection(t *testing.T) {
	d := startClosed(t)
	for name := range transports {
		who := shows{query: "&ticket=" + d.ticket(withBearer(tokenOf("u7", "")).header, "/socket.io/")}
		c := d.mustConnect(name, who)
		if me := c.mustAsk("hello", object{}); !strings.Contains(string(me), `"u7"`) {
			t.Errorf("%s: %s", name, me)
		}
		if _, err := d.connect(name, who); codeOf(err) != string(conversation.BadToken) {
			t.Errorf("%s again: %v", name, err)
		}
	}
}

// The cookie of a session counts for pages of this server only.
func TestCookieFromAnotherOrigin(t *testing.T) {
	d := startClosed(t)
	d.operators()
	cookie := d.signIn("ann")
	from := func(fields ...string) shows {
		who := withCookie(cookie)
		for i := 0; i < len(fields); i += 2 {
			who.header[fields[i]] = []string{fields[i+1]}
		}
		return who
	}
	for name, tt := range map[string]struct {
		who shows
		ok  bool
	}{
		"own page":                   {from("Origin", d.url, "Sec-Fetch-Site", "same-origin"), true},
		"another page":               {from("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), false},
		"another page, old browser":  {from("Origin", "https://evil.example"), false},
		"another port":               {from("Origin", "https://127.0.0.1:1", "Sec-Fetch-Site", "same-site"), false},
		"over plain HTTP":            {from("Origin", "http"+strings.TrimPrefix(d.url, "https"), "Sec-Fetch-Site", "cross-site"), false},
		"a sandboxed frame":          {from("Origin", "null", "Sec-Fetch-Site", "cross-site"), false},
		"no origin, but cross-site":  {from("Sec-Fetch-Site", "cross-site"), false},
		"a page of a sibling domain": {from("Sec-Fetch-Site", "same-site"), false},
	} {
		for transport := range transports {
			if _, err := d.connect(transport, tt.who); (err == nil) != tt.ok {
				t.Errorf("%s, %s: %v", name, transport, err)
			}
		}
		for _, path := range []string{"/api/me", "/rooms/lounge/events", "/metrics"} {
			status := 0
			if path == "/rooms/lounge/events" {
				if f, err := d.feed(path, tt.who.header); err != nil {
					status = err.(*httpError).status
				} else {
					status = 200
					f.resp.Body.Close()
				}
			} else {
				status, _, _ = d.request("GET", path, tt.who.header, "")
			}
			want := []int{200}
			switch {
			case !tt.ok:
				want = []int{401, 403}
			case path == "/metrics": // ann is no admin
				want = []int{403}
			}
			if !slices.Contains(want, status) {
				t.Errorf("%s, GET %s: %d, want %v", name, path, status, want)
			}
		}
		want := 403
		if tt.ok {
			want = 201
		}
		if status, body, _ := d.request("POST", "/api/tickets", tt.who.header, `{"path":"/rooms/lounge/events"}`); status != want {
			t.Errorf("%s, POST: %d %s", name, status, body)
		}
	}
	// A cookie proves nothing beside a token that is no good. Other auth data do not matter.
	for auth, ok := range map[string]bool{`{"theme":"token"}`: true, `{"token":"no token"}`: false, `{"token":7}`: false} {
		who := from()
		who.auth = auth
		if _, err := d.connect("websocket", who); (err == nil) != ok {
			t.Errorf("a cookie with auth %s: %v", auth, err)
		}
	}
	form := from("Origin", "https://evil.example", "Content-Type", "application/x-www-form-urlencoded")
	if status, _, _ := d.request("POST", "/api/tickets", form.header, "path=/rooms/lounge/events"); status != 403 {
		t.Errorf("form of another page: %d", status)
	}
	form = from("Content-Type", "text/plain")
	if status, _, _ := d.request("POST", "/api/tickets", form.header, `{"path":"/rooms/lounge/events"}`); status != 415 {
		t.Errorf("form as text: %d", status)
	}
	if status, _, _ := d.request("DELETE", "/api/session", from("Origin", "https://evil.example").header, ""); status != 403 {
		t.Errorf("sign-out by another page: %d", status)
	}
	if status, body, _ := d.request("GET", "/api/me", from().header, ""); status != 200 {
		t.Errorf("the session: %d %s", status, body)
	}
}

// A feed's ticket opens that feed again from a later position, and nothing else.
func TestFeedTicket(t *testing.T) {
	d := startClosed(t)
	header := withBearer(tokenOf("u7", "")).header
	const path = "/rooms/lounge/events"
	for i := range 5 {
		if err := app.Append(d.server, draft("lounge", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	epoch := app.Epoch(d.server)
	ticket := "?ticket=" + d.ticket(header, path)
	at := func(n int) http.Header { return http.Header{"Last-Event-Id": {fmt.Sprintf("%s-%d", epoch, n)}} }
	refused := func(what string, err error) {
		t.Helper()
		var e *httpError
		if !errors.As(err, &e) || e.status != 401 {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := d.feed("/rooms/other/events"+ticket, nil)
	refused("another room", err)
	first, err := d.feed(path+ticket, at(2))
	if err != nil {
		t.Fatal(err)
	}
	first.want(t, "newMessage 2", "newMessage 3", "newMessage 4", "live 5")
	second, err := d.feed(path+ticket, at(4)) // although nobody has noticed that the first one is lost
	if err != nil {
		t.Fatal(err)
	}
	second.want(t, "newMessage 4", "live 5")
	first.rest()                                                                                              // ends
	if status, body, _ := d.request("HEAD", path+ticket+"&lastEventId="+epoch+"-4", nil, ""); status != 200 { // as feed.js asks
		t.Errorf("HEAD: %d %s", status, body)
	}
	third, err := d.feed(path+ticket+"&lastEventId="+epoch+"-4", at(5)) // as EventSource reconnects
	if err != nil {
		t.Fatal(err)
	}
	third.want(t, "live 5")
	_, err = d.feed(path+ticket, at(3))
	refused("an earlier position", err)
	_, err = d.feed(path+ticket, nil)
	refused("from the beginning", err)
	if status, _, _ := d.request("POST", path+ticket, nil, "{}"); status != 405 {
		t.Errorf("another method: %d", status)
	}
	for name := range transports {
		if _, err := d.connect(name, shows{query: "&" + ticket[1:]}); codeOf(err) != string(conversation.BadToken) {
			t.Errorf("as a handshake over %s: %v", name, err)
		}
	}
}

// A token that ends during a connection can be renewed, and otherwise the connection ends.
func TestTokensAreRefreshed(t *testing.T) {
	d := startClosed(t)
	c := d.mustConnect("websocket", withToken(tokenFor("u7", 30*time.Second, "")))
	if _, ok := c.await(`42["tokenExpiring",{"expiresAt":"`); !ok {
		t.Fatal("nobody said that the token ends")
	}
	if _, code := c.ask("refresh", object{"token": tokenOf("u8", "")}); code != "forbidden" {
		t.Errorf("somebody else's token: %q", code)
	}
	if _, code := c.ask("refresh", object{"token": "x"}); code != "bad_token" {
		t.Errorf("a bad token: %q", code)
	}
	c.mustAsk("refresh", object{"token": tokenOf("u7", "")})
}
