package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a handler over a store in memory, and a client of it.
func open(t *testing.T, store interface {
	history.Store
	history.Records
}, log *slog.Logger) (http.Handler, *admin.Client) {
	t.Helper()
	who, err := access.New(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	messages := history.NewLog(store, nil)
	verifier, err := jwtauth.New(&jwtauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := admin.Handler(admin.Options{
		Access: who, Log: messages, Store: store, Logger: log,
		Tokens: func() (*jwtauth.Verifier, error) { return verifier, nil },
	})
	c := admin.Local(h)
	t.Cleanup(func() {
		c.Close()
		verifier.Close()
		messages.Close()
		store.Close()
	})
	return h, c
}

func code(err error) conversation.Code {
	var e *access.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Any id can stand in a path.
func TestIDsInPaths(t *testing.T) {
	_, c := open(t, history.NewMemory(), nil)
	for _, id := range []string{"ann", "a/b", "..", ".", "%2e", "ü x", "?a=b#c", "a//b", "*"} {
		if err := c.Call(t.Context(), http.MethodPost, "/api/operators", admin.NewOperator{ID: id}, nil); err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		disabled := true
		var o access.Operator
		if err := c.Call(t.Context(), http.MethodPatch, admin.Path("/api/operators/%s", id), admin.OperatorChange{Disabled: &disabled}, &o); err != nil || o.ID != id || !o.Disabled {
			t.Errorf("%q: %+v, %v", id, o, err)
		}
		if err := c.Call(t.Context(), http.MethodDelete, admin.Path("/api/operators/%s", id), nil, nil); err != nil {
			t.Errorf("%q: %v", id, err)
		}
		if err := c.Call(t.Context(), http.MethodDelete, admin.Path("/api/operators/%s", id), nil, nil); code(err) != conversation.NotFound {
			t.Errorf("%q again: %v", id, err)
		}
	}
}

// Refusals are problems, as RFC 9457 says, and do not repeat what was sent.
func TestProblems(t *testing.T) {
	var log bytes.Buffer
	h, _ := open(t, history.NewMemory(), slog.New(slog.NewTextHandler(&log, nil)))
	for _, test := range []struct {
		method, path, body string
		status             int
		code               conversation.Code
	}{
		{"POST", "/api/operators", `{"id": "ann", "password": "hunter2"}`, 400, conversation.BadPayload},
		{"POST", "/api/operators", `{"id": "ann", "pasword": "hunter2hunter2"}`, 400, conversation.BadPayload},
		{"POST", "/api/operators", `{"id": "ann", "password": {"hunter2": 1}}`, 400, conversation.BadPayload},
		{"POST", "/api/operators", `{"id": "ann", "role": "hunter2"}`, 400, conversation.BadPayload},
		{"POST", "/api/operators", `{"id": "` + strings.Repeat("a", 70<<10) + `"}`, 400, conversation.BadPayload},
		{"POST", "/api/operators", ``, 400, conversation.BadPayload},
		{"PATCH", "/api/operators/ann", `{}`, 400, conversation.BadPayload},
		{"POST", "/api/revocations", `{"userId": "u7", "everybody": true}`, 400, conversation.BadPayload},
		{"POST", "/api/revocations", `{}`, 400, conversation.BadPayload},
		{"POST", "/api/bans", `{"userId": "u7", "network": "10.0.0.0/8"}`, 400, conversation.BadPayload},
		{"POST", "/api/keys", `{"name": "k", "rooms": {"": "r"}}`, 400, conversation.BadPayload},
		{"POST", "/api/tokens", `{"sub": "u7"}`, 503, conversation.NotReady},
		{"GET", "/api/rooms/r/export", ``, 404, conversation.NotFound},
		{"DELETE", "/api/rooms/r", ``, 404, conversation.NotFound},
		{"GET", "/api/hunter2", ``, 404, conversation.NotFound},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		w := &answer{header: http.Header{}}
		h.ServeHTTP(w, r)
		var p struct {
			Type, Title string
			Status      int
			Code        conversation.Code
		}
		if err := json.Unmarshal(w.body.Bytes(), &p); err != nil || p.Type != "about:blank" || p.Title != http.StatusText(test.status) || p.Status != test.status || p.Code != test.code ||
			w.status != test.status || w.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %.40s: %d, %s", test.method, test.path, test.body, w.status, w.body.String())
		}
		if strings.Contains(w.body.String()+log.String(), "hunter2") {
			t.Errorf("%s %s: the secret is repeated: %s, %s", test.method, test.path, w.body.String(), log.String())
		}
	}
	if want := `call="POST /api/tokens" done=false code=not_ready`; !strings.Contains(log.String(), want) {
		t.Errorf("no %s in the log: %s", want, log.String())
	}
}

// No rooms are not all rooms, whatever passes them on.
func TestNoRooms(t *testing.T) {
	_, c := open(t, history.NewMemory(), nil)
	for name, rooms := range map[string]map[string]string{"nowhere": {}, "everywhere": nil} {
		var made admin.MadeKey
		if err := c.Call(t.Context(), "POST", "/api/keys", admin.NewKey{Name: name, Rooms: rooms}, &made); err != nil {
			t.Fatal(err)
		}
		var checked admin.CheckedToken
		if err := c.Call(t.Context(), "POST", "/api/tokens/check", admin.TokenToCheck{Token: access.Secret(made.Secret)}, &checked); err != nil {
			t.Fatal(err)
		}
		if all := rooms == nil; (made.Rooms == nil) != all || (checked.Rooms == nil) != all {
			t.Errorf("%s: made for %v, checked for %v", name, made.Rooms, checked.Rooms)
		}
	}
}

type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// An update keeps what it does not name, above all that an operator is locked out.
func TestUpdateKeeps(t *testing.T) {
	_, c := open(t, history.NewMemory(), nil)
	put := func(o admin.NewOperator) (is access.Operator) {
		t.Helper()
		if err := c.Call(t.Context(), http.MethodPost, "/api/operators", o, &is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	name, email, disabled := "Ann", "ann@example.com", true
	put(admin.NewOperator{ID: "ann", Role: "admin", Name: &name, Email: &email})
	if err := c.Call(t.Context(), http.MethodPatch, "/api/operators/ann", admin.OperatorChange{Disabled: &disabled}, nil); err != nil {
		t.Fatal(err)
	}
	other := "Ann Lee"
	if o := put(admin.NewOperator{ID: "ann", Update: true, Name: &other}); o.Name != other || o.Email != email || o.Role != "admin" || !o.Disabled {
		t.Errorf("updated: %+v", o)
	}
}

// breaking is a store whose pages cannot be read after the first one.
type breaking struct {
	*history.Memory
	pages int
}

func (b *breaking) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	if b.pages++; b.pages > 1 {
		return history.Slice{}, history.ErrUnavailable
	}
	return b.Memory.History(ctx, room, p)
}

// An export that breaks off is no export, however much of it came.
func TestExportBreaksOff(t *testing.T) {
	store := &breaking{Memory: history.NewMemory()}
	message, err := json.Marshal(strings.Repeat("x", 60<<10))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := store.Append(t.Context(), []history.Draft{{RoomID: "a", UserID: "u", Message: message}, {RoomID: "b", UserID: "u", Message: message}}); err != nil {
			t.Fatal(err)
		}
	}
	_, c := open(t, store, nil)
	var got bytes.Buffer
	if err := c.Stream(t.Context(), &got, "/api/export"); err == nil || got.Len() == 0 {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	if _, err := history.CheckExport(&got); err == nil {
		t.Error("a part of an export counts as whole")
	}
	if err := c.Stream(t.Context(), io.Discard, "/api/rooms/a/export"); code(err) != conversation.Unavailable {
		t.Errorf("an export that cannot begin: %v", err)
	}
}

func TestConnect(t *testing.T) {
	dir, err := os.MkdirTemp("", "parley")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, admin.SocketName)
	if _, err := admin.Connect(t.Context(), path); !errors.Is(err, admin.ErrUnreachable) {
		t.Errorf("without a socket: %v", err)
	}
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := open(t, history.NewMemory(), nil)
	server := &http.Server{Handler: h}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	c, err := admin.Connect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call(t.Context(), http.MethodPost, "/api/operators", admin.NewOperator{ID: "ann"}, nil); err != nil {
		t.Error(err)
	}
	server.Close()
	<-served
	if err := c.Call(t.Context(), http.MethodGet, "/api/operators", nil, nil); !errors.Is(err, admin.ErrUnreachable) {
		t.Errorf("of a server that is gone: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there")
	}
	// What is no socket is not replaced.
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := admin.Listen(path); err == nil {
		l.Close()
		t.Error("a file was replaced")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file has %q, %v", text, err)
	}
	// Something that answers, and is no server of ours.
	os.Remove(path)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for conn, err := other.Accept(); err == nil; conn, err = other.Accept() {
			io.WriteString(conn, "220 mail\r\n")
			conn.Close()
		}
	}()
	stranger, err := admin.Connect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := stranger.Call(t.Context(), http.MethodGet, "/api/operators", nil, nil); !errors.Is(err, admin.ErrUnreachable) {
		t.Errorf("of a stranger: %v", err)
	}
}
