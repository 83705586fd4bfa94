package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/getkin/kin-openapi/routers"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// late, as a body, does not come.
const late = "late"

const (
	password = "correct horse battery"
	marker   = "do-not-repeat-me" // no answer has it
)

// records can be made to fail.
type records struct {
	history.Records
	mu   sync.Mutex
	fail error
}

func (r *records) failWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *records) PutRecords(ctx context.Context, changes ...history.Record) ([]history.Record, error) {
	r.mu.Lock()
	err := r.fail
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return r.Records.PutRecords(ctx, changes...)
}

// service is an API with one operator, anna, and some tokens.
type service struct {
	t       *testing.T
	handler http.Handler
	access  *access.Access
	store   *records
	openAPI map[string]map[string]struct {
		Responses map[string]any
	}
	router routers.Router
	seen   map[string]bool // "GET /api/me OK"
}

func newService(t *testing.T) *service {
	s := &service{t: t, store: &records{Records: history.NewMemory()}, seen: map[string]bool{}}
	var err error
	s.access, err = access.New(t.Context(), s.store, &access.Options{Visitors: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []access.Operator{{ID: "anna", Name: "Anna", Role: auth.Admin}, {ID: "bob", Email: "bob@example.com"}} {
		if _, err := s.access.AddOperator(t.Context(), o, password); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	identities := map[string]*auth.Identity{
		"user":     {Subject: "u7", Role: auth.User, Name: "Ann", Expires: now.Add(time.Hour)},
		"admin":    {Subject: "elsewhere", Role: auth.Admin, IssuedAt: now},
		"banned":   {Subject: "u9", Role: auth.User},
		"program":  {Subject: "bot", Role: auth.Service},
		"fresh":    {Subject: "v_1", Role: auth.User, Visitor: true, Expires: now.Add(access.VisitorLife)},
		"half":     {Subject: "v_2", Role: auth.User, Visitor: true, Expires: now.Add(access.VisitorLife / 3)},
		"impolite": {Subject: "u8", Role: auth.User},
	}
	if _, err := s.access.Ban(t.Context(), access.Ban{Subject: "user:u9"}); err != nil {
		t.Fatal(err)
	}
	s.handler = api.New(api.Options{
		Access: s.access, Tickets: new(access.Tickets),
		Token: func(_ context.Context, token string) (*auth.Identity, error) {
			if token == "expired" {
				return nil, &access.Error{Code: conversation.TokenExpired, Message: "it is over"}
			}
			if who := identities[token]; who != nil {
				return who, nil
			}
			return nil, &access.Error{Code: conversation.BadToken, Message: "who is this?"}
		},
		Address: func(r *http.Request) string {
			if a := r.Header.Get("Test-Address"); a != "" {
				return a
			}
			return "203.0.113.1:1"
		},
		Secure:  func(r *http.Request) bool { return r.Header.Get("Test-Plain") == "" },
		CORS:    []string{"https://app.example"},
		Widgets: []string{"https://shop.example"},
		Version: "test",
	})
	doc := s.do(request{method: "GET", path: "/openapi.json", header: "Authorization: Bearer user"})
	var o struct {
		OpenAPI string
		Paths   json.RawMessage
	}
	if err := json.Unmarshal(doc.Body.Bytes(), &o); err != nil || doc.Code != 200 || o.OpenAPI != "3.1.0" {
		t.Fatalf("openapi.json: %d, %v: %.200s", doc.Code, err, doc.Body)
	}
	if err := json.Unmarshal(o.Paths, &s.openAPI); err != nil {
		t.Fatal(err)
	}
	if s.router, err = newRouter(doc.Body.Bytes()); err != nil {
		t.Fatal(err)
	}
	return s
}

// request is one, as text.
type request struct {
	method, path, body string
	header             string // "Name: value", one a line
}

func (s *service) do(q request) *httptest.ResponseRecorder {
	body := io.Reader(strings.NewReader(q.body))
	if q.body == late {
		body = iotest.ErrReader(os.ErrDeadlineExceeded)
	}
	r := httptest.NewRequest(q.method, "https://chat.example"+q.path, body)
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for line := range strings.Lines(q.header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	s.note(q, w)
	if s.router != nil && r.Method != http.MethodOptions {
		if err := validate(s.router, r, q.body, w); err != nil {
			s.t.Errorf("%+v: not as documented: %v\n%d %s", q, err, w.Code, w.Body)
		}
	}
	return w
}

// note checks what holds for all answers.
func (s *service) note(q request, w *httptest.ResponseRecorder) {
	path, _, _ := strings.Cut(q.path, "?")
	if strings.HasPrefix(path, "/api/sessions/") {
		path = "/api/sessions/{id}"
	}
	s.seen[q.method+" "+path+" "+http.StatusText(w.Code)] = true
	if strings.Contains(w.Body.String(), marker) {
		s.t.Errorf("%+v: the answer repeats what the client sent: %s", q, w.Body)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		s.t.Errorf("%+v: Cache-Control: %q", q, got)
	}
	if w.Code < 400 {
		return
	}
	var p struct {
		Type, Title, Code, Detail string
		Status                    int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" ||
		p.Type != "about:blank" || p.Title != http.StatusText(w.Code) || p.Status != w.Code || p.Code == "" {
		s.t.Errorf("%+v: %v, no problem: %s, %s", q, err, w.Header(), w.Body)
	}
	if (w.Code == 401) != strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") && p.Code != "forbidden" {
		s.t.Errorf("%+v: %d with WWW-Authenticate %q", q, w.Code, w.Header().Get("WWW-Authenticate"))
	}
	if (w.Code == 429) != (w.Header().Get("Retry-After") != "") {
		s.t.Errorf("%+v: %d with Retry-After %q", q, w.Code, w.Header().Get("Retry-After"))
	}
}

// want makes a request and checks status and code.
func (s *service) want(q request, status int, code string) *httptest.ResponseRecorder {
	s.t.Helper()
	w := s.do(q)
	var p struct{ Code string }
	json.Unmarshal(w.Body.Bytes(), &p)
	if w.Code != status || p.Code != code {
		s.t.Errorf("%+v:\ngot %d %q, want %d %q: %s", q, w.Code, p.Code, status, code, w.Body)
	}
	return w
}

// signIn returns the header with the cookie of a new session.
func (s *service) signIn(login, password string) string {
	s.t.Helper()
	w := s.want(request{"POST", "/api/session", `{"login":"` + login + `","password":"` + password + `"}`, ""}, 200, "")
	value, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	return "Cookie: " + value
}

// Each status that the document promises occurs, and no other one.
func TestStatuses(t *testing.T) {
	s := newService(t)
	anna := s.signIn("anna", password)
	bob := s.signIn("bob@example.com", password)
	user, admin := "Authorization: Bearer user", "Authorization: Bearer admin"
	banned := "Authorization: Bearer banned"
	form := "\nContent-Type: application/x-www-form-urlencoded"
	big := `{"login":"` + strings.Repeat("x", 9000) + `","path":"/"}`
	var list struct {
		Items []struct {
			ID      string
			Current bool
		}
	}
	json.Unmarshal(s.want(request{"GET", "/api/sessions", "", bob}, 200, "").Body.Bytes(), &list)
	if len(list.Items) != 1 || !list.Items[0].Current {
		t.Fatalf("sessions: %+v", list)
	}
	bobs := "/api/sessions/" + list.Items[0].ID

	for _, tt := range []struct {
		request
		status int
		code   string
	}{
		{request{"POST", "/api/session", `{"login":"anna","password":"` + marker + `"}`, ""}, 401, "bad_token"},
		{request{"POST", "/api/session", `{"login":"nobody","password":"` + marker + `"}`, ""}, 401, "bad_token"},
		{request{"POST", "/api/session", `{"login":"anna","password":["` + marker + `"]}`, ""}, 400, "bad_payload"},
		{request{"POST", "/api/session", `{"login":"anna","password":"` + marker, ""}, 400, "bad_payload"},
		{request{"POST", "/api/session", `{"login":"anna"}`, ""}, 400, "bad_payload"},
		{request{"POST", "/api/session", ``, ""}, 400, "bad_payload"},
		{request{"POST", "/api/session?" + marker + "=1", `{"login":"anna","password":"x"}`, ""}, 400, "bad_payload"},
		{request{"POST", "/api/session", big, ""}, 413, "too_large"},
		{request{"POST", "/api/session", "login=anna&password=" + password, form}, 415, "bad_payload"},
		{request{"POST", "/api/session", `{"login":"anna","password":"` + password + `"}`, "Origin: https://evil.example"}, 403, "forbidden"},
		{request{"POST", "/api/session", `{"login":"anna","password":"` + password + `"}`, "Origin: https://app.example"}, 403, "forbidden"},
		{request{"POST", "/api/session", `{"login":"anna","password":"` + password + `"}`, "Sec-Fetch-Site: cross-site"}, 403, "forbidden"},
		{request{"POST", "/api/session", `{"login":"anna","password":"` + password + `"}`, "Test-Plain: 1"}, 403, "forbidden"},

		{request{"GET", "/api/me", "", ""}, 401, "bad_token"},
		{request{"GET", "/api/me", "", "Authorization: Bearer " + marker}, 401, "bad_token"},
		{request{"GET", "/api/me", "", "Authorization: Basic dXNlcg=="}, 401, "bad_token"},
		{request{"GET", "/api/me", "", "Authorization: Bearer expired"}, 401, "token_expired"},
		{request{"GET", "/api/me", "", "Cookie: __Host-parley=" + marker}, 401, "bad_token"},
		{request{"GET", "/api/me", "", strings.Replace(anna, "__Host-", "", 1)}, 401, "bad_token"},
		{request{"GET", "/api/me", "", anna}, 200, ""},
		{request{"GET", "/api/me", "", user}, 200, ""},
		{request{"GET", "/api/me", "", banned}, 403, "banned"},
		{request{"GET", "/api/me", "", anna + "\nOrigin: https://app.example"}, 403, "forbidden"},
		{request{"GET", "/api/me?x=1", "", user}, 400, "bad_payload"},
		{request{"GET", "/api/me?access_token=" + marker, "", ""}, 401, "bad_token"},
		{request{"GET", "/api/me?Token=" + marker, "", user}, 401, "bad_token"},

		{request{"PATCH", "/api/me", `{"name":"Anna B"}`, anna}, 200, ""},
		{request{"PATCH", "/api/me", `{"email":"anna@example.com","unknown":1}`, anna + "\nContent-Type: application/merge-patch+json"}, 200, ""},
		{request{"PATCH", "/api/me", `{"email":null}`, anna}, 200, ""},
		{request{"PATCH", "/api/me", `{"name":1}`, anna}, 400, "bad_payload"},
		{request{"PATCH", "/api/me", `{"name":"\u0007"}`, anna}, 400, "bad_payload"},
		{request{"PATCH", "/api/me", `{"email":"bob@example.com"}`, anna}, 409, "conflict"},
		{request{"PATCH", "/api/me", `{"name":"x"}`, ""}, 401, "bad_token"},
		{request{"PATCH", "/api/me", `{"name":"x"}`, user}, 403, "forbidden"},
		{request{"PATCH", "/api/me", `{"name":"x"}`, admin}, 404, "not_found"},
		{request{"PATCH", "/api/me", big, anna}, 413, "too_large"},
		{request{"PATCH", "/api/me", "name=x", anna + form}, 415, "bad_payload"},

		{request{"POST", "/api/me/password", `{"password":"` + marker + `","newPassword":"long enough, really"}`, anna}, 401, "bad_token"},
		{request{"POST", "/api/me/password", `{"password":"` + password + `","newPassword":"short"}`, anna}, 400, "bad_payload"},
		{request{"POST", "/api/me/password", `{"password":"x","newPassword":"long enough, really"}`, user}, 403, "forbidden"},
		{request{"POST", "/api/me/password", `{"password":"x","newPassword":"long enough, really"}`, anna + "\nTest-Plain: 1\nCookie: parley=" + strings.SplitN(anna, "=", 2)[1]}, 403, "forbidden"},
		{request{"POST", "/api/me/password", big, anna}, 413, "too_large"},
		{request{"POST", "/api/me/password", "password=x", anna + form}, 415, "bad_payload"},

		{request{"GET", "/api/sessions", "", ""}, 401, "bad_token"},
		{request{"GET", "/api/sessions", "", user}, 403, "forbidden"},
		{request{"GET", "/api/sessions", "", admin}, 200, ""},
		{request{"GET", "/api/sessions?x=1", "", anna}, 400, "bad_payload"},
		{request{"DELETE", "/api/sessions/" + marker, "", anna}, 404, "not_found"},
		{request{"DELETE", bobs, "", anna}, 404, "not_found"},
		{request{"DELETE", bobs, "", ""}, 401, "bad_token"},
		{request{"DELETE", bobs, "", user}, 403, "forbidden"},
		{request{"DELETE", bobs + "?x=1", "", bob}, 400, "bad_payload"},
		{request{"DELETE", bobs, "", bob}, 204, ""},
		{request{"GET", "/api/me", "", bob}, 401, "bad_token"},

		{request{"POST", "/api/visitors", `{}`, ""}, 201, ""},
		{request{"POST", "/api/visitors", ``, ""}, 201, ""},
		{request{"POST", "/api/visitors", `{"site":"https://shop.example"}`, "Origin: https://shop.example"}, 201, ""},
		{request{"POST", "/api/visitors", `{}`, "Origin: https://chat.example"}, 201, ""},
		{request{"POST", "/api/visitors", `{}`, "Origin: https://app.example"}, 403, "forbidden"},
		{request{"POST", "/api/visitors", `{}`, "Authorization: Bearer fresh"}, 200, ""},
		{request{"POST", "/api/visitors", `{}`, "Authorization: Bearer half"}, 201, ""},
		{request{"POST", "/api/visitors", `{}`, "Authorization: Bearer " + marker}, 401, "bad_token"},
		{request{"POST", "/api/visitors", `{}`, "Cookie: __Host-parley=of-an-ended-session"}, 201, ""},
		{request{"POST", "/api/visitors", `{"site":1}`, ""}, 400, "bad_payload"},
		{request{"POST", "/api/visitors", big, ""}, 413, "too_large"},
		{request{"POST", "/api/visitors", "site=x", form}, 415, "bad_payload"},

		{request{"POST", "/api/tickets", `{"path":"/rooms/a%2Fb/events"}`, user}, 201, ""},
		{request{"POST", "/api/tickets", `{"path":"/socket.io/","method":"POST"}`, user}, 201, ""},
		{request{"POST", "/api/tickets", `{"path":"/"}`, user + "\nOrigin: https://app.example"}, 201, ""},
		{request{"POST", "/api/tickets", `{"path":"/"}`, ""}, 401, "bad_token"},
		{request{"POST", "/api/tickets", `{"path":"/"}`, banned}, 403, "banned"},
		{request{"POST", "/api/tickets", `{"path":"/?` + marker + `"}`, user}, 400, "bad_payload"},
		{request{"POST", "/api/tickets", `{"path":"https://evil.example/"}`, user}, 400, "bad_payload"},
		{request{"POST", "/api/tickets", `{"path":"/","method":"` + marker + `"}`, user}, 400, "bad_payload"},
		{request{"POST", "/api/tickets", big, user}, 413, "too_large"},
		{request{"POST", "/api/tickets", "path=/", user + form}, 415, "bad_payload"},

		{request{"DELETE", "/api/session?x=1", "", anna}, 400, "bad_payload"},
		{request{"DELETE", "/api/session", "", anna + "\nSec-Fetch-Site: cross-site"}, 403, "forbidden"},
		{request{"GET", "/api/nothing", "", ""}, 404, "not_found"},
		{request{"GET", "/openapi.json", "", ""}, 401, "bad_token"},
	} {
		s.want(tt.request, tt.status, tt.code)
	}

	for _, op := range []struct{ method, path string }{
		{"POST", "/api/session"}, {"PATCH", "/api/me"}, {"POST", "/api/me/password"}, {"POST", "/api/visitors"}, {"POST", "/api/tickets"},
	} {
		s.want(request{op.method, op.path, late, ""}, 408, "bad_payload")
	}

	s.store.failWith(history.ErrUnavailable)
	s.writes(anna, 503, "unavailable")
	s.store.failWith(history.ErrUnknownOutcome)
	s.writes(anna, 504, "unknown_outcome")
	s.store.failWith(nil)

	for range 20 {
		s.do(request{"POST", "/api/session", `{"login":"x","password":"x"}`, "Test-Address: 203.0.113.9:1"})
		s.do(request{"POST", "/api/me/password", `{"password":"x","newPassword":"long enough, really"}`, anna + "\nTest-Address: 203.0.113.8:1"})
	}
	for range 100 {
		s.do(request{"POST", "/api/visitors", ``, ""})
	}
	for range 300 {
		s.do(request{"POST", "/api/tickets", `{"path":"/"}`, "Authorization: Bearer impolite"})
	}

	s.changesPassword()
	s.want(request{"DELETE", "/api/session", "", s.signIn("bob@example.com", password)}, 204, "")
	s.complete()
}

// writes makes each request that changes the store.
func (s *service) writes(cookie string, status int, code string) {
	s.t.Helper()
	fresh := newService(s.t) // the key of visitors is made with the first one
	fresh.store.failWith(s.store.fail)
	fresh.want(request{"POST", "/api/visitors", "", ""}, status, code)
	for key := range fresh.seen {
		s.seen[key] = true
	}
	var list struct{ Items []struct{ ID string } }
	json.Unmarshal(s.do(request{"GET", "/api/sessions", "", cookie}).Body.Bytes(), &list)
	for _, q := range []request{
		{"POST", "/api/session", `{"login":"anna","password":"` + password + `"}`, "Test-Address: 203.0.113.7:1"},
		{"DELETE", "/api/session", "", cookie},
		{"DELETE", "/api/sessions/" + list.Items[0].ID, "", cookie},
		{"PATCH", "/api/me", `{"name":"Z"}`, cookie},
		{"POST", "/api/me/password", `{"password":"` + password + `","newPassword":"long enough, really"}`, cookie + "\nTest-Address: 203.0.113.7:1"},
	} {
		s.want(q, status, code)
	}
}

// changesPassword changes bob's password twice.
func (s *service) changesPassword() {
	s.t.Helper()
	old := s.signIn("bob", password)
	const next = "another long password"
	w := s.want(request{"POST", "/api/me/password", `{"password":"` + password + `","newPassword":"` + next + `"}`, old}, 200, "")
	s.want(request{"GET", "/api/me", "", old}, 401, "bad_token")
	cookie, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	w = s.want(request{"POST", "/api/me/password", `{"password":"` + next + `","newPassword":"` + password + `"}`, "Cookie: " + cookie}, 200, "")
	var me struct{ OperatorID, Role, Email string }
	if json.Unmarshal(w.Body.Bytes(), &me); me.OperatorID != "bob" || me.Role != "operator" || me.Email != "bob@example.com" {
		s.t.Errorf("bob is %+v", me)
	}
}

// complete checks that all documented statuses were seen, and no others.
func (s *service) complete() {
	for path, methods := range s.openAPI {
		for method, op := range methods {
			for status := range op.Responses {
				var n int
				if json.Unmarshal([]byte(status), &n) != nil {
					s.t.Errorf("%s %s documents %q", method, path, status)
				}
				key := strings.ToUpper(method) + " " + path + " " + http.StatusText(n)
				if !s.seen[key] {
					s.t.Errorf("%s is documented and does not occur", key)
				}
				delete(s.seen, key)
			}
		}
	}
	for key := range s.seen {
		if path := strings.Fields(key)[1]; s.openAPI[path] != nil && !strings.HasSuffix(key, "Method Not Allowed") {
			s.t.Errorf("%s occurs and is not documented", key)
		}
	}
}

func TestCookie(t *testing.T) {
	s := newService(t)
	signIn := request{"POST", "/api/session", `{"login":"anna","password":"` + password + `"}`, ""}
	if got := s.want(signIn, 200, "").Header().Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-parley=") || !strings.HasSuffix(got, "; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict") {
		t.Errorf("over TLS: %s", got)
	}
	for _, host := range []string{"localhost:8080", "127.0.0.1:8080", "[::1]:8080"} {
		signIn.header = "Test-Plain: 1\nHost: " + host
		if got := s.want(signIn, 200, "").Header().Get("Set-Cookie"); !strings.HasPrefix(got, "parley=") || !strings.HasSuffix(got, "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict") {
			t.Errorf("on %s: %s", host, got)
		}
	}
	out := s.want(request{"DELETE", "/api/session", "", ""}, 204, "")
	if got := out.Header().Get("Set-Cookie"); got != "__Host-parley=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict" {
		t.Errorf("sign out: %s", got)
	}
}

func TestSignOut(t *testing.T) {
	s := newService(t)
	anna := s.signIn("anna", password)
	s.want(request{"DELETE", "/api/session", "", anna}, 204, "")
	s.want(request{"GET", "/api/me", "", anna}, 401, "bad_token")
	s.want(request{"DELETE", "/api/session", "", anna}, 204, "")
}

func TestHeadersOfRefusals(t *testing.T) {
	s := newService(t)
	for header, want := range map[string]string{
		"":                              `Bearer`,
		"Authorization: Bearer nobody":  `Bearer error="invalid_token"`,
		"Authorization: Bearer expired": `Bearer error="invalid_token"`,
		"Authorization: Bearer user":    `Bearer error="insufficient_scope"`,
	} {
		if got := s.do(request{"GET", "/api/sessions", "", header}).Header().Get("WWW-Authenticate"); got != want {
			t.Errorf("%q: WWW-Authenticate: %s, want %s", header, got, want)
		}
	}
	w := s.want(request{"PUT", "/api/me", "", ""}, 405, "bad_payload")
	if got := w.Header().Get("Allow"); got != "GET, HEAD, PATCH" {
		t.Errorf("Allow: %s", got)
	}
}

func TestOtherOrigins(t *testing.T) {
	s := newService(t)
	for _, tt := range []struct{ path, origin, want string }{
		{"/api/me", "https://app.example", "https://app.example"},
		{"/api/me", "https://shop.example", ""},
		{"/api/visitors", "https://shop.example", "https://shop.example"},
		{"/api/visitors", "https://app.example", ""},
		{"/api/me", "null", ""},
	} {
		w := s.do(request{"OPTIONS", tt.path, "", "Origin: " + tt.origin + "\nAccess-Control-Request-Method: POST"})
		h := w.Header()
		if h.Get("Access-Control-Allow-Origin") != tt.want || (w.Code == 204) != (tt.want != "") || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%+v: %d %v", tt, w.Code, h)
		}
		if tt.want != "" && !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%+v: %v", tt, h)
		}
	}
}

// A body has its time, also on a connection that may take longer.
func TestBodyTimeout(t *testing.T) {
	a, err := access.New(t.Context(), history.NewMemory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(api.New(api.Options{Access: a, BodyTimeout: time.Millisecond}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, "POST /api/tickets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if want := "HTTP/1.1 408 "; !strings.HasPrefix(string(answer[:n]), want) {
		t.Errorf("%q, %v, want %s", answer[:n], err, want)
	}
}

func TestOpenServer(t *testing.T) {
	a, err := access.New(t.Context(), history.NewMemory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := api.New(api.Options{Access: a, Tickets: new(access.Tickets)})
	for path, want := range map[string]int{"/openapi.json": 200, "/api/me": 401} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// Errors that clients did not cause reach the operator, and clients learn nothing of them.
func TestInternalErrors(t *testing.T) {
	store := history.NewMemory()
	a, err := access.New(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	h := api.New(api.Options{
		Access: a,
		Token:  func(context.Context, string) (*auth.Identity, error) { return nil, errors.New(marker) },
		Failed: func(_ string, err error) { failed = err },
	})
	r := httptest.NewRequest("GET", "/api/me", nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 500 || strings.Contains(w.Body.String(), marker) || failed == nil || failed.Error() != marker {
		t.Errorf("%d %s, %v", w.Code, w.Body, failed)
	}
}
