package peers_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/notice"
	"github.com/parley-go/parley/internal/peers"
)

const secret = "the secret of a cluster"

// fleet is a cluster as Peers see it.
type fleet struct {
	self     adapter.Node
	observer func(adapter.Event)
	asked    func(to adapter.NodeID, sids string) error
}

func (f *fleet) Self() adapter.Node { return f.self }

func (f *fleet) Observe(observer func(adapter.Event)) (stop func()) {
	f.observer = observer
	return func() {}
}

func (f *fleet) Serve(string, func(adapter.Node, []byte, func([]byte))) {}

func (f *fleet) Ask(_ context.Context, to adapter.NodeID, _ string, sids []byte) ([]byte, error) {
	if f.asked == nil {
		return nil, adapter.ErrNoNode
	}
	return nil, f.asked(to, string(sids))
}

// meet tells of another server.
func (f *fleet) meet(k adapter.EventKind, n adapter.Node) {
	f.observer(adapter.Event{Kind: k, Node: n})
}

func node(name string) adapter.Node {
	n := adapter.Node{Name: name, Tag: adapter.TagOf(name)}
	copy(n.ID[:], name)
	return n
}

// newPeers returns the Peers of the server with this name. change may be nil.
func newPeers(t testing.TB, name string, change func(*peers.Options)) (*peers.Peers, *fleet) {
	t.Helper()
	f := &fleet{self: node(name)}
	o := peers.Options{
		Cluster: f, Secret: secret, MaxPayload: 1000, MaxForwards: 100, WriteTimeout: time.Minute, Silence: time.Minute,
		ClientAddress: func(r *http.Request) string { return r.RemoteAddr },
		ClientSecure:  func(r *http.Request) bool { return r.TLS != nil },
		Sessions:      func() int { return 0 },
		Notices:       notice.New(slog.New(slog.DiscardHandler)),
	}
	if change != nil {
		change(&o)
	}
	p := peers.New(o)
	p.Start()
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p, f
}

// accepts hands a request to a server's handler. It returns why it is refused; "" means that it is not.
func accepts(t *testing.T, p *peers.Peers, r *http.Request) (refusal string, header http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	var client peers.Client
	served := false
	p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { client, served = peers.ClientOf(r) })).ServeHTTP(w, r)
	refusal = w.Header().Get("Parley-Refused")
	switch {
	case served && (refusal != "" || client != peers.Client{Address: "192.0.2.7:1234", Secure: true}):
		t.Errorf("served, with the refusal %q and the client %+v", refusal, client)
	case !served && (refusal == "" || w.Code != http.StatusForbidden):
		t.Errorf("not served, with the refusal %q and the status %d", refusal, w.Code)
	}
	return refusal, w.Header()
}

// request returns a request as the receiver gets it.
func request() *http.Request {
	r := httptest.NewRequest("POST", "/socket.io/?EIO=4&transport=polling&sid=x", strings.NewReader("4hello"))
	r.Host = "chat.example.com"
	r.Header.Set("Origin", "https://chat.example.com")
	r.Header.Set("User-Agent", "")
	r.Header.Add("Cookie", "a=b")
	r.Header.Add("Cookie", "c=d")
	return r
}

func TestSeal(t *testing.T) {
	a, _ := newPeers(t, "a", nil)
	b, _ := newPeers(t, "b", nil)
	c, _ := newPeers(t, "c", nil)
	thief, _ := newPeers(t, "a", func(o *peers.Options) { o.Secret = "another secret!!" })
	for _, tt := range []struct {
		name, want string
		by         *peers.Peers
		change     func(r *http.Request)
	}{
		{"right", "", a, func(r *http.Request) {}},
		{"what Go adds or leaves out", "", a, func(r *http.Request) {
			r.Header.Del("User-Agent")
			r.Header.Set("Content-Length", "6")
		}},
		{"none", "forged", a, func(r *http.Request) { r.Header.Del("Parley-Forward") }},
		{"two", "forged", a, func(r *http.Request) { r.Header.Add("Parley-Forward", r.Header.Get("Parley-Forward")) }},
		{"empty", "forged", a, func(r *http.Request) { r.Header.Set("Parley-Forward", "") }},
		{"truncated", "forged", a, func(r *http.Request) {
			s := r.Header.Get("Parley-Forward")
			r.Header.Set("Parley-Forward", s[:len(s)-1])
		}},
		{"without code", "forged", a, func(r *http.Request) {
			s := r.Header.Get("Parley-Forward")
			r.Header.Set("Parley-Forward", s[:strings.LastIndex(s, " ")+1])
		}},
		{"another secret", "forged", thief, func(r *http.Request) {}},
		{"another client", "forged", a, func(r *http.Request) {
			r.Header.Set("Parley-Forward", strings.Replace(r.Header.Get("Parley-Forward"), "192.0.2.7", "192.0.2.8", 1))
		}},
		{"another scheme", "forged", a, func(r *http.Request) {
			r.Header.Set("Parley-Forward", strings.Replace(r.Header.Get("Parley-Forward"), " https ", " http ", 1))
		}},
		{"another version", "forged", a, func(r *http.Request) {
			r.Header.Set("Parley-Forward", "2"+r.Header.Get("Parley-Forward")[1:])
		}},
		{"another method", "forged", a, func(r *http.Request) { r.Method = "GET" }},
		{"another session", "forged", a, func(r *http.Request) { r.RequestURI += "y" }},
		{"another host", "forged", a, func(r *http.Request) { r.Host = "evil.example.com" }},
		{"another origin", "forged", a, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.com") }},
		{"no origin", "forged", a, func(r *http.Request) { r.Header.Del("Origin") }},
		{"one more header", "forged", a, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }},
		{"a header moved into another", "forged", a, func(r *http.Request) { r.Header["Cookie"] = []string{"a=bCookiec=d"} }},
		{"an upgrade", "forged", a, func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }},
		{"another length", "forged", a, func(r *http.Request) { r.ContentLength = -1 }},
		{"a user agent", "forged", a, func(r *http.Request) { r.Header.Set("User-Agent", "x") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			tt.by.Seal(r, b, b.Clock())
			tt.change(r)
			if got, _ := accepts(t, b, r); got != tt.want {
				t.Errorf("refusal %q, want %q", got, tt.want)
			}
			if tt.want == "" {
				if got, _ := accepts(t, b, r); got != "replayed" {
					t.Errorf("again: refusal %q", got)
				}
			}
		})
	}
	r := request()
	a.Seal(r, b, c.Clock())
	if got, _ := accepts(t, c, r); got != "misguided" {
		t.Errorf("at another server: refusal %q", got)
	}
	if got, want := b.Stats().Accepted.Load(), uint64(2); got != want {
		t.Errorf("%d accepted, want %d", got, want)
	}
	if b.Stats().Rejected.Load() == 0 {
		t.Error("none rejected")
	}
}

func TestSealExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newPeers(t, "a", nil)
		time.Sleep(time.Hour) // the servers' clocks differ
		b, _ := newPeers(t, "b", nil)
		time.Sleep(time.Minute)
		for _, tt := range []struct {
			age  time.Duration
			want string
		}{
			{30 * time.Second, ""}, {30*time.Second + time.Millisecond, "expired"},
			{-5 * time.Second, ""}, {-5*time.Second - time.Millisecond, "expired"},
			{time.Minute - peers.Never, "expired"}, {-time.Hour, "expired"},
		} {
			r := request()
			a.Seal(r, b, b.Clock()-tt.age)
			if got, header := accepts(t, b, r); got != tt.want {
				t.Errorf("%v old: refusal %q, want %q", tt.age, got, tt.want)
			} else if (header.Get("Parley-Clock") == "") != (tt.want == "") {
				t.Errorf("%v old: clock %q", tt.age, header.Get("Parley-Clock"))
			}
		}
		// Only who knows the secret learns the time.
		r := request()
		a.Seal(r, b, peers.Never)
		r.Header.Set("Cookie", "x")
		if got, header := accepts(t, b, r); got != "forged" || header.Get("Parley-Clock") != "" {
			t.Errorf("forged: refusal %q, clock %q", got, header.Get("Parley-Clock"))
		}
	})
}

// A seal is remembered for as long as it is valid, and not for ever.
func TestReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newPeers(t, "a", nil)
		b, _ := newPeers(t, "b", nil)
		for i := range 60 {
			var all []*http.Request
			for _, ahead := range []time.Duration{0, 5 * time.Second, -30 * time.Second} {
				r := request()
				a.Seal(r, b, b.Clock()+ahead)
				all = append(all, r)
			}
			for k, r := range all {
				if got, _ := accepts(t, b, r); got != "" {
					t.Fatalf("refusal %q of request %d.%d", got, i, k)
				}
			}
			for range 5 {
				for k, r := range all {
					if got, _ := accepts(t, b, r); got != "replayed" && got != "expired" {
						t.Fatalf("refusal %q of request %d.%d the second time", got, i, k)
					}
				}
				time.Sleep(4 * time.Second)
			}
			if n := b.Nonces(); n > 15 {
				t.Fatalf("%d nonces", n)
			}
		}
	})
}

// Requests of two servers at the same time have different nonces.
func TestNonces(t *testing.T) {
	a, _ := newPeers(t, "a", nil)
	c, _ := newPeers(t, "c", nil)
	b, _ := newPeers(t, "b", nil)
	var refusals []string
	for range 100 {
		for _, by := range []*peers.Peers{a, c} {
			r := request()
			by.Seal(r, b, b.Clock())
			refusal, _ := accepts(t, b, r)
			refusals = append(refusals, refusal)
		}
	}
	if slices.ContainsFunc(refusals, func(s string) bool { return s != "" }) {
		t.Errorf("refusals %q", refusals)
	}
}
