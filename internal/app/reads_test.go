package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/app/apptest"
)

// stalledReads is a store whose reads of messages, while stalled, only end with their contexts.
type stalledReads struct {
	*history.Memory
	stalled atomic.Bool
	begun   chan history.Client
	ended   chan error
}

func (s *stalledReads) wait(ctx context.Context) error {
	if !s.stalled.Load() {
		return nil
	}
	s.begun <- history.ClientOf(ctx)
	<-ctx.Done()
	s.ended <- ctx.Err()
	return ctx.Err()
}

func (s *stalledReads) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	if err := s.wait(ctx); err != nil {
		return history.Slice{}, err
	}
	return s.Memory.History(ctx, room, p)
}

func (s *stalledReads) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	if err := s.wait(ctx); err != nil {
		return history.Slice{}, err
	}
	return s.Memory.Changes(ctx, room, since, l)
}

// Whatever a client asks for, and over which transport: the store knows for whom it reads, and the
// read ends when the client goes.
func TestReadsEndWithTheirClient(t *testing.T) {
	t.Cleanup(app.SetStoreTimeout(time.Hour))
	store := &stalledReads{Memory: history.NewMemory(), begun: make(chan history.Client), ended: make(chan error)}
	i := startOn(t, testConfig(), store)
	seen := map[history.Client]string{}
	check := func(what string, ask, leave func()) {
		t.Helper()
		store.stalled.Store(true)
		ask()
		client := <-store.begun
		if client.Address != "127.0.0.1" || client.ID == "" || seen[client] != "" {
			t.Errorf("%s: the client is %+v, that of %q", what, client, seen[client])
		}
		seen[client] = what
		leave()
		if err := <-store.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the read ended with %v", what, err)
		}
		store.stalled.Store(false)
	}

	for _, test := range []struct{ event, request string }{
		{"joinRoom", `{"roomId":"r"}`},
		{"joinRoom", `{"roomId":"r","after":0}`},
		{"history", `{"roomId":"r"}`},
		{"history", `{"roomId":"r","after":0}`},
	} {
		event := fmt.Sprintf(`42["%s",%s]`, test.event, test.request)
		const joinRoom = `420["joinRoom",{"roomId":"r"}]`

		c, err := apptest.Connect(t.Context(), i.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Call(t.Context(), "joinRoom", object{"roomId": "r"}, new(answer)); err != nil {
			t.Fatal(err)
		}
		check("websocket "+event, func() { c.Write(t.Context(), event) }, c.Close)

		for _, transport := range []string{"polling", "sse"} {
			s := connectByRequest(t, i.url, transport)
			s.post(t, joinRoom)
			s.until(t, "430[")
			check(transport+" "+event, func() { s.post(t, event) }, func() { s.post(t, "1") })
			s.leave()
		}
	}
	for _, query := range []string{"", "?limit=1", "?lastEventId=earliest", "?lastEventId=" + store.Epoch() + "-0"} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		check("feed"+query, func() {
			go func() {
				defer close(ended)
				if f, err := openFeed(ctx, i.url+"/rooms/r/events"+query, ""); err == nil {
					f.resp.Body.Close()
				}
			}()
		}, cancel)
		<-ended
	}
}

// countedReads counts the pages that it reads.
type countedReads struct {
	*history.Memory
	reads atomic.Int32
}

func (s *countedReads) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	s.reads.Add(1)
	return s.Memory.History(ctx, room, p)
}

// A client that asks for many pages and takes none has one in the server's memory, also if it polls
// and asks for no acknowledgement. The next page is read when it has taken that one.
func TestPagesThatNobodyTakes(t *testing.T) {
	store := &countedReads{Memory: history.NewMemory()}
	i := startOn(t, testConfig(), store)
	s := connectByRequest(t, i.url, "polling")
	defer s.leave()
	const pages = 20
	for _, event := range []string{`42["history",{"roomId":"r"}]`, `42["joinRoom",{"roomId":"r"}]`} {
		s.post(t, `420["joinRoom",{"roomId":"r"}]`)
		s.until(t, "430[")
		store.reads.Store(0)
		s.post(t, strings.Repeat(event+"\x1e", pages-1)+event)
		for taken := int32(0); taken < pages; {
			packets := s.next()
			n := int32(strings.Count(packets, `42["history",`))
			if taken += n; n > 1 || store.reads.Load() > taken+1 {
				t.Fatalf("a poll got %d pages; %d were read when %d had been taken", n, store.reads.Load(), taken)
			}
			if packets == "2" {
				s.post(t, "3")
			}
		}
	}
}

// session is a client that sends by POST.
type session struct {
	*http.Client
	url  string
	next func() string // the next packets
	end  context.CancelFunc
}

func connectByRequest(t *testing.T, url, transport string) *session {
	t.Helper()
	s := &session{Client: browser(), url: url + "/socket.io/?EIO=4&transport=" + transport}
	var ctx context.Context
	ctx, s.end = context.WithCancel(t.Context())
	get := func() io.ReadCloser {
		r, err := http.NewRequestWithContext(ctx, "GET", s.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Do(r)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		return resp.Body
	}
	if transport == "sse" {
		events := bufio.NewScanner(get())
		s.next = func() string {
			for events.Scan() {
				if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
					return data
				}
			}
			t.Fatal("the stream has ended: ", events.Err())
			return ""
		}
	} else {
		s.next = func() string {
			body := get()
			defer body.Close()
			text, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	sid, err := sidOf(s.next())
	if err != nil {
		t.Fatal(err)
	}
	s.url += "&sid=" + sid
	if err := joinMain(s.Client, s.url); err != nil {
		t.Fatal(err)
	}
	s.until(t, "40{")
	return s
}

func (s *session) until(t *testing.T, text string) {
	t.Helper()
	for packets := s.next(); !strings.Contains(packets, text); packets = s.next() {
	}
}

func (s *session) post(t *testing.T, packet string) {
	t.Helper()
	resp, err := s.Post(s.url, "text/plain", strings.NewReader(packet))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("POST %.40q: status %d", packet, resp.StatusCode)
	}
}

func (s *session) leave() {
	s.end()
	s.CloseIdleConnections()
}
