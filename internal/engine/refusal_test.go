package engine_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
)

// Each refusal counts under its reason. The log says once a minute what to do about it.
func TestRefusalsAreCountedAndLogged(t *testing.T) {
	for _, tt := range []struct {
		reason string
		o      engine.Options
		query  string
		header []string
		logged []string
	}{
		{"transport", engine.Options{Transports: []string{"websocket"}}, newPolling, nil, []string{"transport=polling", "Transports"}},
		{"transport", engine.Options{}, "EIO=4&transport=" + long(1000), nil, []string{"transport=" + long(100) + " "}},
		{"session", engine.Options{}, ofPolling("unknown"), nil, []string{"sticky sessions"}},
		{"request", engine.Options{}, newWebSocket, nil, []string{"transport=websocket", "Upgrade"}},
		{"protocol", engine.Options{}, "EIO=3&transport=polling", nil, []string{"AllowEIO3"}},
		{"origin", engine.Options{}, newPolling, []string{"Origin", "http://localhost:5173"}, []string{"origin=http://localhost:5173", "CORS.Origins", "cors-origins"}},
		{"forbidden", engine.Options{AllowRequest: func(*http.Request) error { return errors.New("token abc") }}, newPolling, nil, []string{"AllowRequest"}},
		{"sessions", engine.Options{MaxSessions: 1, PingInterval: time.Hour}, newPolling, nil, []string{"level=WARN", "MaxConnections", "max-connections"}},
		{"address", engine.Options{MaxPerAddress: 1, PingInterval: time.Hour}, newPolling, nil, []string{"MaxConnectionsPerAddress", "trusted-proxies"}},
	} {
		bubble(t, tt.reason, func(t *testing.T) {
			var l log
			tt.o.Logger = l.logger()
			s := inMemory(t, tt.o)
			if tt.reason == "sessions" || tt.reason == "address" {
				p, _ := s.openWebSocket()
				defer p.Close()
			}
			for range 3 {
				s.do("GET", tt.query, "", tt.header...)
			}
			l.want(t, append(tt.logged, "parley: request refused", "reason="+tt.reason)...)
			time.Sleep(time.Minute)
			s.do("GET", tt.query, "", tt.header...)
			l.want(t, "reason="+tt.reason, "not_logged=2")
			for i, reason := range engine.Refusals {
				want := uint64(0)
				if reason == tt.reason {
					want = 4
				}
				if got := s.Stats().Refused[i].Load(); got != want {
					t.Errorf("%d refused for %q, want %d", got, reason, want)
				}
			}
		})
	}
}

// Each origin gets one line, even if clients invent many.
func TestRefusedOriginsAreLoggedOneByOne(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var l log
		s := inMemory(t, engine.Options{Logger: l.logger()})
		for range 2 {
			s.do("GET", newPolling, "", "Origin", "http://a.test")
			s.refused(newWebSocket, "Origin", "http://b.test")
			s.do("OPTIONS", newPolling, "", "Origin", "http://c.test")
		}
		if lines := l.lines(); len(lines) != 3 {
			t.Errorf("%q, want 3 lines", lines)
		}
		if n := s.Stats().Refused[slices.Index(engine.Refusals[:], "origin")].Load(); n != 6 {
			t.Errorf("%d refused, want 6", n)
		}
	})
}

func TestOriginsThatCannotMatchAreAnError(t *testing.T) {
	for _, o := range []string{"http://localhost:5173/", "localhost:5173", "https://bücher.example"} {
		if _, err := engine.NewServer(engine.Options{CORS: origin.Policy{Origins: []string{o}}}); err == nil {
			t.Errorf("%q is accepted", o)
		}
	}
}
