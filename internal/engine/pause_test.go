package engine_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// pausing pauses its session with every eighth message.
type pausing struct {
	session  *engine.Session
	messages int
}

func pauseOften(s *engine.Session) engine.Handler { return &pausing{session: s} }

func (p *pausing) Message(bool, []byte) {
	if p.messages++; p.messages%8 == 0 {
		p.session.Pause()
	}
}

func (p *pausing) Opened()                     {}
func (p *pausing) Closed(engine.Reason, error) {}

// posting is a session of a client that posts.
type posting struct {
	*server
	t       *testing.T
	query   string
	session *owner
}

// eachPosting runs f for each transport whose clients post.
func eachPosting(t *testing.T, o engine.Options, f func(p posting)) {
	bubble(t, "polling", func(t *testing.T) {
		s := inMemory(t, o)
		sid, own := s.open()
		f(posting{s, t, ofPolling(sid), own})
	})
	bubble(t, "sse", func(t *testing.T) {
		s := inMemory(t, o)
		_, sid, own := s.openSSE()
		f(posting{s, t, ofSSE(sid), own})
	})
}

// giveUp posts a body, and abandons the POST once the server waits.
func (p posting) giveUp(body string) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	r := &http.Request{
		Method: "POST", Header: http.Header{},
		URL:  &url.URL{Scheme: p.scheme, Host: p.host, Path: "/engine.io/", RawQuery: p.query},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	failed := make(chan error)
	go func() {
		resp, err := p.client.Do(r.WithContext(ctx))
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	synctest.Wait()
	cancel()
	if err := <-failed; err == nil {
		p.t.Error("the POST was answered")
	}
	synctest.Wait()
}

// payload is a body of many messages.
func bodyOf(n int) string {
	packets := make([]string, n)
	for i := range packets {
		packets[i] = fmt.Sprint("4", i)
	}
	return strings.Join(packets, "\x1e")
}

func (p posting) wantCount(n int) {
	p.t.Helper()
	got := p.session.received()
	for i, m := range got {
		if m != fmt.Sprint(i) {
			p.t.Fatalf("message %d is %q", i, m)
		}
	}
	if len(got) != n {
		p.t.Errorf("%d messages handed on, want %d", len(got), n)
	}
}

func TestPausedSessionHandsNothingOn(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften}, func(p posting) {
		answered := make(chan answer, 1)
		go func() { answered <- p.do("POST", p.query, bodyOf(6000)) }()
		for n := 8; n < 6000; n += 8 {
			synctest.Wait()
			p.wantCount(n)
			p.session.session.Resume()
		}
		synctest.Wait()
		p.wantCount(6000)
		select {
		case <-answered:
			p.t.Error("the POST was answered while the session is paused")
		default:
		}
		p.session.session.Resume()
		wantAnswer(p.t, <-answered, 200, "ok")
		p.session.session.Close()
	})
}

// What a client has posted and given up still counts: until it is handed on, another POST is
// one too many.
func TestPostsThatAreGivenUpDoNotPileUp(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften}, func(p posting) {
		p.giveUp(bodyOf(100))
		p.wantCount(8)
		wantAnswer(p.t, p.do("POST", p.query, bodyOf(100)), 400, "")
		p.session.wantEnded(engine.TransportError)
		synctest.Wait()
		p.wantCount(8)
		p.wantSessions(0)
	})
}

func TestPostThatIsGivenUpIsHandedOn(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften, PingInterval: time.Hour}, func(p posting) {
		p.giveUp("40\x1e41\x1e42\x1e43\x1e44\x1e45\x1e46\x1e47\x1e48")
		p.wantCount(8)
		p.session.session.Resume()
		synctest.Wait()
		p.wantCount(9)
		wantAnswer(p.t, p.do("POST", p.query, "49"), 200, "ok")
		p.wantCount(10)
		p.session.session.Close()
	})
}

// The end of the session frees a POST that waits, and drops what is left of its body.
func TestPausedSessionEnds(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften}, func(p posting) {
		answered := make(chan answer, 1)
		go func() { answered <- p.do("POST", p.query, bodyOf(100)) }()
		synctest.Wait()
		p.session.session.Close()
		wantAnswer(p.t, <-answered, 200, "ok")
		p.wantCount(8)
	})
}
