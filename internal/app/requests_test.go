package app_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/app"
)

// requestFrom makes n requests from an address, one after the other, and returns how long that takes.
func requestFrom(t *testing.T, h http.Handler, from, path string, n int, header http.Header) time.Duration {
	t.Helper()
	begun := time.Now()
	for range n {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr, r.Header = from, header
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatalf("status %d", w.Code)
		}
	}
	return time.Since(begun)
}

func limited(connections int) http.Handler {
	c := app.Defaults()
	c.MaxConnectionsPerAddress = connections
	return app.LimitRequests(c, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

func TestRequestsOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limited(50) // 40 requests a second, 500 at once
		if took := requestFrom(t, h, "203.0.113.1:1", "/", 501, nil); took != 0 {
			t.Errorf("a burst waited for %v", took)
		}
		if took := requestFrom(t, h, "203.0.113.1:2", "/", 40, nil); took != time.Second {
			t.Errorf("40 more, from another port, waited for %v, want 1s", took)
		}
		if took := requestFrom(t, h, "[2001:db8::1]:1", "/", 250, nil) + requestFrom(t, h, "[2001:db8::2]:1", "/", 251, nil); took != 0 {
			t.Errorf("others waited for %v", took)
		}
		if took := requestFrom(t, h, "[2001:db8::3]:1", "/", 40, nil); took != time.Second {
			t.Errorf("a third address of the same network waited for %v, want 1s", took)
		}
		for _, exempt := range []string{"127.0.0.1:1", "[::1]:1", "@"} {
			if took := requestFrom(t, h, exempt, "/", 1000, nil); took != 0 {
				t.Errorf("%s waited for %v", exempt, took)
			}
		}
		if took := requestFrom(t, limited(0), "203.0.113.1:1", "/", 1000, nil); took != 0 {
			t.Errorf("without budgets, requests waited for %v", took)
		}
	})
}

func TestDearRequests(t *testing.T) {
	fields := http.Header{}
	for range 1000 {
		fields.Add("A", "")
	}
	for _, dear := range []struct {
		path   string
		header http.Header
		least  time.Duration
	}{{"/metrics", nil, time.Second}, {"/readyz", nil, 250 * time.Millisecond}, {"/", fields, 500 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			h := limited(50)
			requestFrom(t, h, "203.0.113.1:1", "/", 500, nil)
			requestFrom(t, h, "203.0.113.1:1", dear.path, 1, dear.header)
			if took := requestFrom(t, h, "203.0.113.1:1", "/", 1, nil); took < dear.least || took > 2*dear.least {
				t.Errorf("after %s with %d fields, a request waited for %v, want %v or a bit more", dear.path, len(dear.header["A"]), took, dear.least)
			}
		})
	}
}

// Requests that would wait for too long are refused, but not at once, and others get their turn.
func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limited(50)
		requestFrom(t, h, "203.0.113.1:1", "/", 500, nil)
		gone, leave := context.WithCancel(t.Context())
		begun := time.Now()
		var all sync.WaitGroup
		var ok, refused atomic.Int32
		for i := range 400 {
			all.Go(func() {
				r := httptest.NewRequest("GET", "/", nil)
				if r.RemoteAddr = "203.0.113.1:1"; i%2 == 0 {
					r = r.WithContext(gone)
				}
				w := httptest.NewRecorder()
				switch h.ServeHTTP(w, r); {
				case w.Code == http.StatusOK:
					ok.Add(1)
				case w.Code == http.StatusTooManyRequests && strings.Trim(w.Header().Get("Retry-After"), "56") == "":
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := ok.Load() + refused.Load(); n != 1 {
			t.Errorf("answered at once: %d, want 1", n)
		}
		leave()
		synctest.Wait()
		if n := ok.Load() + refused.Load(); n < 200 || n > 201 {
			t.Errorf("%d of 200 requests whose clients are gone have ended", n)
		}
		all.Wait()
		// A request waits for at most 5 s, in which there are 200 turns, after one at once.
		if ok.Load() != 201 || refused.Load() != 199 {
			t.Errorf("served %d and refused %d of 400 requests, want 201 and 199", ok.Load(), refused.Load())
		}
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		if took := requestFrom(t, h, "203.0.113.1:1", "/", 1, nil); took > time.Second {
			t.Errorf("the next request waited for %v", took)
		}
	})
}

// All doors round a wait up, so that whoever comes back then is not too early.
func TestRetryAfterIsRoundedUp(t *testing.T) {
	err := app.ForClients(&access.Error{Code: "rate_limited", RetryAfter: 1400 * time.Millisecond})
	var told *parley.Error
	if !errors.As(err, &told) || told.Data != any(conversation.RefusalData{RetryAfter: 2}) {
		t.Errorf("clients of Socket.IO hear %+v", err)
	}
}
