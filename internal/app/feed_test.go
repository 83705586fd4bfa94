package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/soak"
)

// feedEvent is an event as EventSource dispatches it.
type feedEvent struct{ id, name, data string }

// feedReader reads a feed.
type feedReader struct {
	resp  *http.Response
	lines *bufio.Scanner
}

func openFeed(ctx context.Context, url, lastID string) (*feedReader, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return nil, err
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != 200 {
		resp.Body.Close()
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &feedReader{resp, lines}, nil
}

// next returns the next event. ok is false when the feed has ended.
func (f *feedReader) next() (e feedEvent, ok bool) {
	for f.lines.Scan() {
		field, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch {
		case field == "id":
			e.id = value
		case field == "event":
			e.name = value
		case field == "data":
			e.data += value
		case field == "" && e.data != "":
			return e, true
		}
	}
	return e, false
}

func feedOf(t *testing.T, i *instance, pathAndQuery, lastID string) *feedReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	f, err := openFeed(ctx, i.url+pathAndQuery, lastID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.resp.Body.Close() })
	return f
}

// want reads events and compares them: "live 3", "reset 0" or "newMessage <its message>".
func (f *feedReader) want(t *testing.T, want ...string) (last feedEvent) {
	t.Helper()
	for _, w := range want {
		e, ok := f.next()
		var data struct {
			Message any
			LastSeq int64
			Seq     int64
		}
		if !ok || json.Unmarshal([]byte(e.data), &data) != nil {
			t.Fatalf("event %+v, want %q", e, w)
		}
		got := fmt.Sprint(e.name, " ", data.LastSeq)
		if e.name == "newMessage" {
			got = fmt.Sprint(e.name, " ", data.Message)
		}
		if got != w || !strings.HasSuffix(e.id, fmt.Sprint("-", data.LastSeq+data.Seq)) {
			t.Fatalf("event %+v, want %q", e, w)
		}
		last = e
	}
	return last
}

func TestFeedsAreKeptAliveLikeSockets(t *testing.T) {
	cfg := testConfig()
	cfg.PingInterval = 50 * time.Millisecond
	lines := feedOf(t, start(t, cfg), "/rooms/r/events", "").lines
	for comments := 0; comments < 5 && lines.Scan(); { // the first comes at once
		if lines.Text() == ":" {
			comments++
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
}

func TestFeed(t *testing.T) {
	i := start(t, testConfig())
	a := i.dial(t)
	join(t, a, object{"roomId": "r/é", "userId": "u"})
	const path = "/rooms/r%2F%C3%A9/events"
	live := feedOf(t, i, path, "")
	begin := live.want(t, "live 0")
	for n := 1; n <= 3; n++ {
		send(t, a, object{"roomId": "r/é", "message": n})
	}
	second := live.want(t, "newMessage 1", "newMessage 2")
	if !strings.Contains(second.data, `"roomId":"r/é","seq":2,"userId":"u","message":2,`) {
		t.Errorf("message %s", second.data)
	}
	live.want(t, "newMessage 3")
	epoch, _, _ := strings.Cut(second.id, "-")
	for name, test := range map[string]struct {
		query, lastID string
		want          []string
	}{
		"from now":              {"", "", []string{"live 3"}},
		"newest":                {"?limit=2", "", []string{"newMessage 2", "newMessage 3", "live 3"}},
		"all":                   {"?lastEventId=earliest", "", []string{"newMessage 1", "newMessage 2", "newMessage 3", "live 3"}},
		"from the beginning":    {"", begin.id, []string{"newMessage 1", "newMessage 2", "newMessage 3", "live 3"}},
		"header wins":           {"?last_event_id=earliest", second.id, []string{"newMessage 3", "live 3"}},
		"nothing missed":        {"?lastEventID=" + epoch + "-3", "", []string{"live 3"}},
		"another epoch":         {"", "other-1", []string{"reset 0", "newMessage 1", "newMessage 2", "newMessage 3", "live 3"}},
		"ahead of what is here": {"", epoch + "-4", []string{"reset 0", "newMessage 1", "newMessage 2", "newMessage 3", "live 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			feedOf(t, i, path+test.query, test.lastID).want(t, test.want...)
		})
	}
	send(t, a, object{"roomId": "r/é", "message": map[string]string{"text": "a\nb"}})
	live.want(t, "newMessage map[text:a\nb]")
}

func TestFeedRefusals(t *testing.T) {
	c := testConfig()
	c.CORSOrigins = []string{"https://a.example"}
	url := start(t, c).url
	for _, test := range []struct {
		method, path, origin string
		status               int
		body                 string
	}{
		{"GET", "/rooms/" + strings.Repeat("x", 201) + "/events", "", 400, "400: roomId must have"},
		{"GET", "/rooms/a%0Ab/events", "", 400, "400: roomId must have"},
		{"GET", "/rooms/%FF/events", "", 400, "400: roomId must have"},
		{"GET", "/rooms/r/events?lastEventId=x", "", 400, "400: the id of the last event"},
		{"GET", "/rooms/r/events?lastEventId=x-y", "", 400, "400: the id of the last event"},
		{"GET", "/rooms/r/events?lastEventId=x-99999999999999999999", "", 400, "400: the id of the last event"},
		{"GET", "/rooms/r/events?limit=many", "", 400, "400: limit must be"},
		{"HEAD", "/rooms/r/events?limit=-1", "", 400, ""},
		{"HEAD", "/rooms/r/events", "", 200, ""},
		{"HEAD", "/rooms/r/events", "https://a.example", 200, ""},
		{"GET", "/rooms/r/events", "https://b.example", 403, "403: pages of this origin"},
		{"DELETE", "/rooms/r/events", "", 405, "405: "},
		{"GET", "/rooms/r", "", 404, "404: "},
		{"GET", "/rooms//events", "", 307, ""},
	} {
		var header []string
		if test.origin != "" {
			header = []string{"Origin", test.origin}
		}
		resp, body := request(t, test.method, url+test.path, header...)
		if resp.StatusCode != test.status || !strings.HasPrefix(body, test.body) {
			t.Errorf("%s %.60s: status %d, body %q", test.method, test.path, resp.StatusCode, body)
		}
	}
	i := startOn(t, testConfig(), &brokenStore{Memory: history.NewMemory(), read: history.ErrUnavailable})
	if resp, body := request(t, "GET", i.url+"/rooms/r/events"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.HasPrefix(body, "503: ") {
		t.Errorf("without the store: status %d, %q", resp.StatusCode, body)
	}
}

// Catching up works for more than one page, and for more than may be queued for one client.
func TestFeedOfALongHistory(t *testing.T) {
	const n = 1200
	c := testConfig()
	c.MaxOutbox = 64 << 10
	store := history.NewMemory()
	drafts := make([]history.Draft, n)
	for k := range drafts {
		drafts[k] = history.Draft{RoomID: "r", UserID: "u", Message: json.RawMessage(fmt.Sprintf(`"%d %s"`, k+1, strings.Repeat("x", 500)))}
	}
	if _, err := store.Append(t.Context(), drafts); err != nil {
		t.Fatal(err)
	}
	i := startOn(t, c, store)
	f := feedOf(t, i, "/rooms/r/events?lastEventId=earliest", "")
	for k := 1; k <= n; k++ {
		if e, ok := f.next(); !ok || !strings.HasSuffix(e.id, fmt.Sprint("-", k)) {
			t.Fatalf("event %d is %.100v", k, e)
		}
	}
	f.want(t, fmt.Sprint("live ", n))
}

// failingReads fails to read a room's changes while err returns an error.
type failingReads struct {
	*history.Memory
	err func() error
}

func (s *failingReads) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	if err := s.err(); err != nil {
		return history.Slice{}, err
	}
	return s.Memory.Changes(ctx, room, since, l)
}

// If a read fails after the feed has begun, the client and the operator are told, and a client that
// comes back misses nothing.
func TestFeedWhoseStoreFails(t *testing.T) {
	const n = 1200
	t.Cleanup(app.SetStoreTimeout(100 * time.Millisecond))
	for name, failure := range map[string]error{
		"as stores fail":        history.ErrUnavailable.Wrap("read", errors.New("disk is gone")),
		"with a foreign error":  errors.New("disk is gone"),
		"by taking its time":    context.DeadlineExceeded,
		"since it shuts down":   history.ErrClosed,
		"in a way that is odd ": history.ErrUnknownOutcome,
	} {
		t.Run(name, func(t *testing.T) {
			var reads atomic.Int32 // the first one finds out whether the room can be read
			store := &failingReads{history.NewMemory(), func() error {
				if reads.Add(1) > 2 {
					return failure
				}
				return nil
			}}
			drafts := make([]history.Draft, n)
			for k := range drafts {
				drafts[k] = history.Draft{RoomID: "r", UserID: "u", Message: json.RawMessage(fmt.Sprint(k + 1))}
			}
			if _, err := store.Append(t.Context(), drafts); err != nil {
				t.Fatal(err)
			}
			var logged lockedBuffer
			s, err := app.NewServer(testConfig(), slog.New(slog.NewTextHandler(&logged, nil)), store)
			if err != nil {
				t.Fatal(err)
			}
			i := run(t, s)
			f := feedOf(t, i, "/rooms/r/events?lastEventId=earliest", "")
			var last feedEvent
			got := 0
			for e, ok := f.next(); ok; e, ok = f.next() {
				if last = e; e.name == "newMessage" {
					got++
				}
			}
			if err := f.lines.Err(); err != nil {
				t.Errorf("the feed broke off: %v", err)
			}
			var told struct{ Code, Message string }
			if err := json.Unmarshal([]byte(last.data), &told); err != nil || got == 0 || got == n || last.name != "error" || last.id != "" ||
				told.Code == "" || told.Message == "" || strings.Contains(told.Message, "disk") {
				t.Errorf("after %d messages: %+v", got, last)
			}
			if shutdown := errors.Is(failure, history.ErrClosed); shutdown == strings.Contains(logged.String(), `msg="store failed" doing="read room"`) {
				t.Errorf("logged: %s", logged.String())
			}
			reads.Store(-1000)
			if _, body := request(t, "GET", i.url+"/metrics"); !strings.Contains(body, "\nparley_feeds_failed_total 1\n") {
				t.Error("it is not counted")
			}
			epoch := store.Epoch()
			back := feedOf(t, i, "/rooms/r/events", fmt.Sprint(epoch, "-", got))
			for k := got + 1; k <= n; k++ {
				back.want(t, fmt.Sprint("newMessage ", k))
			}
			back.want(t, fmt.Sprint("live ", n))
		})
	}
}

// lockedBuffer is written to by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// dialFeed starts to read a feed over a connection with a small buffer.
func dialFeed(t *testing.T, i *instance, overTLS bool) *bufio.Scanner {
	t.Helper()
	return dialStream(t, i, overTLS, "/rooms/r/events", "event: live")
}

// dialStream reads the events at path up to the line with prefix.
func dialStream(t *testing.T, i *instance, overTLS bool, path, prefix string) *bufio.Scanner {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	if overTLS {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	skipTo(t, lines, prefix)
	return lines
}

func skipTo(t *testing.T, lines *bufio.Scanner, prefix string) {
	t.Helper()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			return
		}
	}
	t.Fatalf("no %q: %v", prefix, lines.Err())
}

// A client that does not read costs no more than what the kernel and the outbox may hold, over TLS
// too. With the kernel's default buffer it would be 4 MB more.
func TestStalledFeedIsBounded(t *testing.T) {
	const outbox, most = 1 << 20, 2 << 20
	message := json.RawMessage(`"` + strings.Repeat("x", 30<<10) + `"`)
	for _, overTLS := range []bool{false, true} {
		c := testConfig()
		c.MaxOutbox, c.TLSSelfSigned = outbox, overTLS
		s, err := app.Open(c, quiet)
		if err != nil {
			t.Fatal(err)
		}
		i := run(t, s)
		dialFeed(t, i, overTLS)
		reader := dialFeed(t, i, overTLS)
		const sent = 8 << 20 / (30 << 10)
		for range sent {
			if err := app.Append(s, history.Draft{RoomID: "r", UserID: "u", Message: message}); err != nil {
				t.Fatal(err)
			}
			skipTo(t, reader, "id: ") // by now, the other one has had its time
		}
		queued := int(app.FeedStats(s).Events) - sent - 2 // each has received "live"
		if queued*len(message) > most {
			t.Errorf("%d bytes were queued for a client that does not read", queued*len(message))
		}
	}
}

// The same for a client that is connected over sse.
func TestStalledStreamIsBounded(t *testing.T) {
	const outbox = 1 << 20
	message := json.RawMessage(`"` + strings.Repeat("x", 30<<10) + `"`)
	for _, overTLS := range []bool{false, true} {
		c := testConfig()
		c.MaxOutbox, c.TLSSelfSigned = outbox, overTLS
		s, err := app.Open(c, quiet)
		if err != nil {
			t.Fatal(err)
		}
		i := run(t, s)
		lines := dialStream(t, i, overTLS, "/socket.io/?EIO=4&transport=sse", "data: 0{")
		var open struct{ SID string }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: 0")), &open); err != nil {
			t.Fatal(err)
		}
		url := i.url + "/socket.io/?EIO=4&transport=sse&sid=" + open.SID
		if overTLS {
			url = strings.Replace(url, "http:", "https:", 1)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		defer client.CloseIdleConnections()
		post := func(packets ...string) {
			for _, packet := range packets {
				resp, err := client.Post(url, "text/plain", strings.NewReader(packet))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
		}
		post("40", `42["joinRoom",{"roomId":"r"}]`)
		skipTo(t, lines, `data: 42["history",`)
		reader := dialFeed(t, i, overTLS)
		for range 8 << 20 / len(message) {
			if err := app.Append(s, history.Draft{RoomID: "r", UserID: "u", Message: message}); err != nil {
				t.Fatal(err)
			}
			skipTo(t, reader, "id: ") // by now, the other one has had its time
			if queued := app.MostQueued(s); queued > outbox/4+len(message)+1000 {
				t.Fatalf("%d bytes are queued for a client that does not read", queued)
			}
		}
		post("1") // otherwise the shutdown would wait for it
	}
}

func TestShutdownEndsFeeds(t *testing.T) {
	c := testConfig()
	c.ShutdownTimeout = 5 * time.Minute // longer than the reader would wait
	i := start(t, c)
	f := feedOf(t, i, "/rooms/r/events", "")
	f.want(t, "live 0")
	i.stop()
	if e, ok := f.next(); ok || f.lines.Err() != nil {
		t.Errorf("event %+v, %v, want a complete response", e, f.lines.Err())
	}
}

// A reader that comes back with the last id receives every message once and in order, whatever
// happens to the server and its connections.
func TestFeedAcrossKills(t *testing.T) {
	kills := soak.Times(4, 200)
	messages := 100 * kills
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(kills)*time.Minute)
	defer cancel()
	data := t.TempDir()
	server := startChild(t, data)
	var url atomic.Value
	url.Store(server.url)

	s := &sender{user: "u"}
	progress := make(chan struct{})
	s.progress = progress
	sent := make(chan error, 1)
	go func() { sent <- s.run(ctx, messages, &url) }()

	read := make(chan error, 1)
	breaks := 0
	var seen atomic.Int64 // the last seq that the reader has read
	go func() {
		lastID, seq := "earliest", int64(0)
		for seq < int64(messages) {
			f, err := openFeed(ctx, url.Load().(string)+"/rooms/r/events", lastID)
			if ctx.Err() != nil {
				read <- fmt.Errorf("%d messages: %w", seq, ctx.Err())
				return
			}
			if err != nil {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			for e, ok := f.next(); ok; e, ok = f.next() {
				var m message
				if e.name == "reset" || json.Unmarshal([]byte(e.data), &m) != nil || e.name == "newMessage" && m.Seq != seq+1 {
					read <- fmt.Errorf("event %+v after %d", e, seq)
					return
				}
				if e.name == "newMessage" {
					seq++
					seen.Store(seq)
				}
				lastID = e.id
				if seq == int64(messages) {
					break
				}
			}
			f.resp.Body.Close()
			breaks++
		}
		read <- nil
	}()

	for range kills {
		from := seen.Load()
		for range 60 {
			<-progress
		}
		for seen.Load() == from && ctx.Err() == nil { // the reader is connected, so the kill interrupts it
			time.Sleep(time.Millisecond)
		}
		server.kill()
		server = startChild(t, data)
		url.Store(server.url)
	}
	for done := false; !done; {
		select {
		case <-progress:
		case err := <-sent:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		}
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if breaks < kills {
		t.Errorf("the feed was interrupted %d times: too little to prove anything", breaks)
	}
}
