package sse_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/wiretest"
	"github.com/parley-go/parley/sse"
)

// refusals returns the number of refused requests.
func refusals(s *sse.Stats) (n uint64) {
	for _, times := range s.Refused {
		n += times
	}
	return n
}

// feed is a handler that passes its streams to the test.
type feed struct {
	*sse.Handler
	streams chan *sse.Stream
	lastIDs chan string
	ended   chan struct{}
}

func newFeed(o *sse.Options) *feed {
	f := &feed{streams: make(chan *sse.Stream, 99), lastIDs: make(chan string, 99), ended: make(chan struct{}, 99)}
	f.Handler = sse.New(func(s *sse.Stream, r *http.Request, lastID string) (func(), error) {
		f.streams <- s
		f.lastIDs <- lastID
		return func() { f.ended <- struct{}{} }, nil
	}, o)
	return f
}

// inBubble serves a feed over in-memory connections in a synctest bubble.
func inBubble(t *testing.T, o *sse.Options, test func(t *testing.T, f *feed, client *http.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(o)
		serveInBubble(t, f, func(client *http.Client) { test(t, f, client) })
	})
}

func serveInBubble(t *testing.T, h http.Handler, test func(client *http.Client)) {
	l := wiretest.Listen()
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(l)
	transport := &http.Transport{DialContext: l.Dial}
	test(&http.Client{Transport: transport})
	transport.CloseIdleConnections()
	server.Close()
}

func get(t *testing.T, client *http.Client, header ...string) (resp *http.Response, lines *bufio.Reader) {
	t.Helper()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://feed.test/?lastEventId=q", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp, bufio.NewReader(resp.Body)
}

func wantLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if line, err := r.ReadString('\n'); err != nil || line != want+"\n" {
		t.Fatalf("line %q, %v, want %q", line, err, want)
	}
}

// wantBegin reads the beginning of a stream, which is always the same.
func wantBegin(t *testing.T, r *bufio.Reader) (retry time.Duration) {
	t.Helper()
	wantLine(t, r, ":")
	line, _ := r.ReadString('\n')
	retry, err := time.ParseDuration(strings.TrimSuffix(strings.TrimPrefix(line, "retry: "), "\n") + "ms")
	if err != nil {
		t.Fatalf("line %q, want retry", line)
	}
	wantLine(t, r, "")
	return retry
}

func TestStream(t *testing.T) {
	inBubble(t, &sse.Options{KeepAlive: 20 * time.Second, Lifetime: time.Minute}, func(t *testing.T, f *feed, client *http.Client) {
		start := time.Now()
		resp, lines := get(t, client, "Last-Event-ID", "h")
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-store, no-transform",
			"X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if got := <-f.lastIDs; got != "h" {
			t.Errorf("last id %q, want the header's", got)
		}
		wantBegin(t, lines)
		if took := time.Since(start); took > 0 {
			t.Errorf("it began after %v", took)
		}
		s := <-f.streams
		time.Sleep(15 * time.Second)
		s.Send(&sse.Event{ID: "1", Data: []byte("a")})
		wantLine(t, lines, "id: 1")
		wantLine(t, lines, "data: a")
		wantLine(t, lines, "")
		wantLine(t, lines, ":")
		if took := time.Since(start); took != 35*time.Second {
			t.Errorf("kept alive after %v, want 20 s after the event", took)
		}
		rest, err := io.ReadAll(lines)
		if took := time.Since(start); err != nil || took < 48*time.Second || took > time.Minute || strings.Trim(string(rest), ":\n") != "" {
			t.Errorf("it ended after %v with %q, %v", took, rest, err)
		}
		<-f.ended
		if err := s.Send(&sse.Event{ID: "2"}); err != sse.ErrClosed {
			t.Errorf("sent afterwards: %v", err)
		}
		if got := f.Stats(); got.Opened != 1 || got.Events != 1 || got.Streams+got.Queued+got.Behind > 0 || got.Slow+got.Failed+refusals(&got) > 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestClientsAreSpread(t *testing.T) {
	inBubble(t, &sse.Options{Retry: 4 * time.Second}, func(t *testing.T, f *feed, client *http.Client) {
		different := map[time.Duration]bool{}
		for range 10 {
			resp, lines := get(t, client)
			retry := wantBegin(t, lines)
			if retry < 2*time.Second || retry > 6*time.Second {
				t.Errorf("retry %v", retry)
			}
			different[retry] = true
			resp.Body.Close()
			<-f.ended // the handler notices that the client has gone
		}
		if len(different) < 5 {
			t.Errorf("%d different of 10", len(different))
		}
	})
}

// A client that does not read is disconnected when too much is queued or when a write takes too
// long.
func TestSlowReaders(t *testing.T) {
	for name, o := range map[string]*sse.Options{
		"queue": {MaxQueue: 1000, WriteTimeout: time.Hour},
		"time":  {MaxQueue: 1 << 30, WriteTimeout: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, o, func(t *testing.T, f *feed, client *http.Client) {
				start := time.Now()
				resp, lines := get(t, client)
				wantBegin(t, lines)
				s := <-f.streams
				var err error
				for i := 0; i < 1000 && err == nil; i++ {
					err = s.Send(&sse.Event{Data: make([]byte, 300)})
					if i%10 == 0 {
						synctest.Wait()
					}
				}
				if name == "queue" {
					if err != sse.ErrSlow {
						t.Errorf("sending: %v", err)
					}
					if err := s.Send(&sse.Event{}); err != sse.ErrSlow {
						t.Errorf("sending again: %v", err)
					}
					resp.Body.Close() // the write waits for an hour
				}
				<-f.ended
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("after %v", took)
				}
				synctest.Wait()
				if _, err := io.ReadAll(lines); err == nil {
					t.Error("the response looks complete")
				}
				if got := f.Stats(); name == "time" && got.Slow != 1 || got.Streams != 0 {
					t.Errorf("stats %+v", got)
				}
			})
		})
	}
}

// A stream says when its client is behind, and when it has drained. What is queued is counted.
func TestBehind(t *testing.T) {
	inBubble(t, &sse.Options{MaxQueue: 4000, MaxTotal: 1500, WriteTimeout: time.Hour}, func(t *testing.T, f *feed, client *http.Client) {
		event := make([]byte, 1000)
		want := func(s *sse.Stream, behind bool, queued, streams int) {
			t.Helper()
			synctest.Wait()
			if st := f.Stats(); s.Behind() != behind || st.Queued != queued || st.Behind != streams {
				t.Errorf("behind %v, %d bytes and %d streams in total; want %v, %d, %d", s.Behind(), st.Queued, st.Behind, behind, queued, streams)
			}
		}
		open := func() (*sse.Stream, *bufio.Reader, func() error) {
			resp, lines := get(t, client)
			wantBegin(t, lines)
			return <-f.streams, lines, resp.Body.Close
		}
		a, lines, _ := open()
		b, _, end := open()
		// The client's connection takes some.
		for n := 0; f.Stats().Queued == 0; n++ {
			if n > 100 {
				t.Fatal("everything is written to a client that does not read")
			}
			a.SendEncoded(event)
			synctest.Wait()
		}
		want(a, false, 1000, 0)
		want(b, false, 1000, 0)
		a.SendEncoded(event)
		want(a, true, 2000, 0)
		drained := 0
		a.WhenDrained(func() { drained++ })
		a.WhenDrained(func() { drained++ })
		want(a, true, 2000, 1)
		want(b, false, 2000, 1) // nothing is queued for it
		for f.Stats().Queued < 3000 {
			b.SendEncoded(event)
			synctest.Wait()
		}
		want(b, true, 3000, 1) // although it is not much
		b.WhenDrained(func() { t.Error("drained by a client that has gone") })
		want(b, true, 3000, 2)
		if _, err := io.ReadFull(lines, make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, lines)
		want(a, false, 1000, 1)
		if drained != 2 {
			t.Errorf("drained %d times", drained)
		}
		a.WhenDrained(func() { drained++ }) // nothing is queued
		want(a, false, 1000, 1)
		if drained != 3 {
			t.Errorf("drained %d times", drained)
		}
		end()
		<-f.ended
		want(a, false, 0, 0)
		b.WhenDrained(func() { t.Error("drained after the end") })
		want(a, false, 0, 0)
	})
}

func TestRefusals(t *testing.T) {
	refuse := sse.New(func(_ *sse.Stream, r *http.Request, lastID string) (func(), error) {
		switch lastID {
		case "end":
			return nil, &sse.Refusal{Status: 204}
		case "bad":
			return nil, &sse.Refusal{Status: 400, Message: "this is no id"}
		}
		return nil, errors.New("secret")
	}, &sse.Options{CORS: sse.CORS{Origins: []string{"https://a.example"}, Credentials: true}})
	server := httptest.NewServer(refuse)
	defer server.Close()
	for _, test := range []struct {
		method, query, origin string
		status                int
		body, header, value   string
	}{
		{"GET", "lastEventId=end", "", 204, "", "Content-Type", ""},
		{"GET", "last_event_id=bad", "", 400, "400: this is no id\n", "X-Accel-Buffering", ""},
		{"HEAD", "lastEventID=bad", "", 400, "", "Content-Type", "text/plain; charset=utf-8"},
		{"GET", "", "", 503, "503: the feed is not available: try again later\n", "Cache-Control", "no-store"},
		{"POST", "", "", 405, "405: only GET and HEAD here\n", "Allow", "GET, HEAD, OPTIONS"},
		{"GET", "", "https://b.example", 403, "403: pages of this origin may not read the feed\n", "Access-Control-Allow-Origin", ""},
		{"GET", "", "null", 403, "403: pages of this origin may not read the feed\n", "Access-Control-Allow-Origin", ""},
		{"GET", "lastEventId=bad", "https://a.example", 400, "400: this is no id\n", "Access-Control-Allow-Origin", "https://a.example"},
		{"GET", "lastEventId=bad", server.URL, 400, "400: this is no id\n", "Vary", "Origin"},
		{"OPTIONS", "", "https://a.example", 204, "", "Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control"},
		{"OPTIONS", "", "https://a.example", 204, "", "Access-Control-Allow-Credentials", "true"},
		{"OPTIONS", "", "https://b.example", 403, "403: pages of this origin may not read the feed\n", "Access-Control-Allow-Methods", ""},
	} {
		r, _ := http.NewRequest(test.method, server.URL+"/?"+test.query, nil)
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.status || string(body) != test.body || resp.Header.Get(test.header) != test.value {
			t.Errorf("%s %s from %s: status %d, body %q, header %v", test.method, test.query, test.origin, resp.StatusCode, body, resp.Header)
		}
		if (resp.Header.Get("Retry-After") != "") != (test.status == 503) {
			t.Errorf("%s %s: Retry-After %q", test.method, test.query, resp.Header.Get("Retry-After"))
		}
	}
	for name, cors := range map[string]sse.CORS{
		"the origin * with credentials":  {Origins: []string{"*"}, Credentials: true},
		"an origin that can never match": {Origins: []string{"https://a.example/"}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name + " is allowed")
				}
			}()
			sse.New(nil, &sse.Options{CORS: cors})
		}()
	}
	w := httptest.NewRecorder() // middleware that hides the wrapped ResponseWriter
	refuse.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 {
		t.Errorf("without streaming: status %d", w.Code)
	}
}

// A client with one IPv6 address usually has its whole network, so the network counts.
func TestMaxPerAddressCountsNetworksOfIPv6(t *testing.T) {
	address := ""
	inBubble(t, &sse.Options{MaxPerAddress: 1, ClientAddress: func(*http.Request) string { return address }}, func(t *testing.T, f *feed, client *http.Client) {
		for _, test := range []struct {
			from   string
			status int
		}{{"[2001:db8:0:1::1]:1", 200}, {"[2001:db8:0:1:ffff::1]:1", 429}, {"[2001:db8:0:2::1]:1", 200}} {
			address = test.from
			resp, _ := get(t, client)
			defer resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("from %s: status %d, want %d", test.from, resp.StatusCode, test.status)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	address := ""
	inBubble(t, &sse.Options{MaxStreams: 3, MaxPerAddress: 2, ClientAddress: func(*http.Request) string { return address }}, func(t *testing.T, f *feed, client *http.Client) {
		open := func(from string, status int) func() error {
			t.Helper()
			address = from
			resp, _ := get(t, client)
			if resp.StatusCode != status {
				t.Errorf("from %s: status %d, want %d", from, resp.StatusCode, status)
			}
			return resp.Body.Close
		}
		first := open("10.0.0.1:1", 200)
		defer open("10.0.0.1:2", 200)()
		open("10.0.0.1:3", 429)()
		defer open("[::1]:1", 200)()
		open("10.0.0.2:1", 503)()
		first()
		<-f.ended
		synctest.Wait()
		defer open("10.0.0.1:4", 200)()
		if got := f.Stats(); got.Streams != 3 || refusals(&got) != 2 || got.Refused["streams"] != 1 || got.Refused["address"] != 1 || got.Opened != 4 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestClose(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *feed, client *http.Client) {
		_, lines := get(t, client)
		wantBegin(t, lines)
		s := <-f.streams
		s.Send(&sse.Event{Data: []byte("last words")})
		f.Close()
		wantLine(t, lines, "data: last words")
		if rest, err := io.ReadAll(lines); err != nil || string(rest) != "\n" {
			t.Errorf("then %q, %v", rest, err)
		}
		// After another status, EventSource would not come back.
		resp, lines := get(t, client)
		wantBegin(t, lines)
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 || resp.StatusCode != 200 {
			t.Errorf("afterwards: status %d, %q, %v", resp.StatusCode, rest, err)
		}
	})
}

// Streams end one after the other, after what is queued for them. New ones begin.
func TestDrain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *feed, client *http.Client) {
		const streams = 4
		for range streams {
			_, lines := get(t, client)
			s := <-f.streams
			s.Send(&sse.Event{Data: []byte("last words")})
			go func() {
				if rest, err := io.ReadAll(lines); err != nil || !strings.HasSuffix(string(rest), "data: last words\n\n") {
					t.Errorf("%q, %v", rest, err)
				}
			}()
		}
		begun := time.Now()
		go func() {
			if err := f.Drain(t.Context(), 4*time.Second); err != nil {
				t.Error(err)
			}
		}()
		for i := range streams {
			<-f.ended
			if after, want := time.Since(begun), time.Duration(i)*time.Second; after != want {
				t.Errorf("stream %d ended after %v, want %v", i, after, want)
			}
		}
		get(t, client)
		synctest.Wait()
		if n := f.Stats().Streams; n != 1 {
			t.Errorf("%d streams are open, want the new one", n)
		}
	})
}

func TestHead(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *feed, client *http.Client) {
		r, _ := http.NewRequest("HEAD", "http://feed.test/", nil)
		resp, err := client.Do(r)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%v, %v", resp, err)
		}
		<-f.ended
	})
}

// An Open that reads bit by bit can send more than the queue holds, with Flush.
func TestFlush(t *testing.T) {
	part := make([]byte, 600)
	h := sse.New(func(s *sse.Stream, _ *http.Request, _ string) (func(), error) {
		for range 100 {
			if err := s.Send(&sse.Event{Data: part}); err != nil {
				return nil, err
			}
			if err := s.Flush(); err != nil {
				return nil, err
			}
		}
		s.Close()
		return nil, nil
	}, &sse.Options{MaxQueue: 1000})
	synctest.Test(t, func(t *testing.T) {
		serveInBubble(t, h, func(client *http.Client) {
			_, lines := get(t, client)
			wantBegin(t, lines)
			body, err := io.ReadAll(lines)
			if got := parse(string(body)); err != nil || len(got) != 100 {
				t.Errorf("%d events, %v", len(got), err)
			}
		})
	})
}

// Open may fail after the stream has begun. The stream then ends with the refusal's last event. It
// counts as failed unless the client caused it.
func TestFailures(t *testing.T) {
	open := func(f func(s *sse.Stream) error, read func(h *sse.Handler, lines *bufio.Reader)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			h := sse.New(func(s *sse.Stream, _ *http.Request, _ string) (func(), error) {
				if err := s.Flush(); err != nil {
					return nil, err
				}
				return nil, f(s)
			}, nil)
			serveInBubble(t, h, func(client *http.Client) {
				_, lines := get(t, client)
				wantBegin(t, lines)
				read(h, lines)
			})
		})
	}
	wantFailed := func(h *sse.Handler, want uint64) {
		t.Helper()
		synctest.Wait()
		if got := h.Stats(); got.Failed != want || got.Streams != 0 || refusals(&got) != 0 {
			t.Errorf("stats %+v, want %d failed", got, want)
		}
	}
	last := &sse.Event{Name: "error", Data: []byte("sorry")}
	open(func(s *sse.Stream) error {
		s.Send(&sse.Event{Data: []byte("first")})
		return &sse.Refusal{Status: 503, Message: "too late for this", Last: last}
	}, func(h *sse.Handler, lines *bufio.Reader) {
		if rest, err := io.ReadAll(lines); err != nil || string(rest) != "data: first\n\nevent: error\ndata: sorry\n\n" {
			t.Errorf("read %q, %v", rest, err)
		}
		wantFailed(h, 1)
	})
	open(func(s *sse.Stream) error {
		s.Send(&sse.Event{Data: []byte("first")})
		s.Fail(last)
		s.Fail(last)
		return nil
	}, func(h *sse.Handler, lines *bufio.Reader) {
		if rest, err := io.ReadAll(lines); err != nil || string(rest) != "data: first\n\nevent: error\ndata: sorry\n\n" {
			t.Errorf("read %q, %v", rest, err)
		}
		wantFailed(h, 1)
	})
	open(func(*sse.Stream) error { return &sse.Refusal{Status: 503} }, func(h *sse.Handler, lines *bufio.Reader) {
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("read %q, %v", rest, err)
		}
		wantFailed(h, 1)
	})
	open(func(*sse.Stream) error { return errors.New("secret") }, func(h *sse.Handler, lines *bufio.Reader) {
		if rest, err := io.ReadAll(lines); err == nil || len(rest) > 0 {
			t.Errorf("read %q, and the response looks complete", rest)
		}
		wantFailed(h, 1)
	})
	// A client that disconnects while it catches up does not count as failed.
	synctest.Test(t, func(t *testing.T) {
		h := sse.New(func(s *sse.Stream, _ *http.Request, _ string) (func(), error) {
			s.Flush()
			<-s.Context().Done()
			return nil, s.Context().Err()
		}, nil)
		serveInBubble(t, h, func(client *http.Client) {
			resp, lines := get(t, client)
			wantBegin(t, lines)
			resp.Body.Close()
			wantFailed(h, 0)
		})
	})
}

// The timeouts of the http.Server apply to requests, not to streams, in both HTTP versions.
func TestTimeoutsOfTheServer(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		f := newFeed(&sse.Options{KeepAlive: 200 * time.Millisecond})
		server := httptest.NewUnstartedServer(f)
		server.Config.WriteTimeout, server.Config.ReadTimeout, server.Config.IdleTimeout = 2*time.Second, 2*time.Second, 2*time.Second
		server.EnableHTTP2 = http2
		server.StartTLS()
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if (resp.ProtoMajor == 2) != http2 {
			t.Errorf("over %s", resp.Proto)
		}
		lines := bufio.NewReader(resp.Body)
		wantBegin(t, lines)
		for range 20 { // 4 s
			wantLine(t, lines, ":")
			wantLine(t, lines, "")
		}
		cancel()
		<-f.ended
		resp.Body.Close()
		server.Close()
	}
}

// A refusal may say when to come back.
func TestRefusalRetryAfter(t *testing.T) {
	for wait, want := range map[time.Duration]string{1400 * time.Millisecond: "2", time.Minute: "60"} {
		h := sse.New(func(*sse.Stream, *http.Request, string) (func(), error) {
			return nil, &sse.Refusal{Status: 429, Message: "too often", RetryAfter: wait}
		}, nil)
		server := httptest.NewServer(h)
		resp, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Retry-After"); got != want {
			t.Errorf("%v: %q", wait, got)
		}
		h.Close()
		server.Close()
	}
}
