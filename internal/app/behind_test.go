package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/ws"
)

// line is a connection from which as much is read as the test allows.
type line struct {
	net.Conn
	mu      sync.Mutex
	more    sync.Cond // on mu
	allowed int
}

// dialLine connects with a small buffer.
func dialLine(ctx context.Context, network, address string) (*line, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	l := &line{Conn: conn}
	l.more.L = &l.mu
	return l, nil
}

func (l *line) Read(p []byte) (int, error) {
	l.mu.Lock()
	for l.allowed <= 0 {
		l.more.Wait()
	}
	n := min(len(p), l.allowed)
	l.mu.Unlock()
	n, err := l.Conn.Read(p[:n])
	l.allow(-n)
	return n, err
}

func (l *line) allow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed += n
	l.more.Broadcast()
}

// open allows everything.
func (l *line) open() {
	l.Conn.(*net.TCPConn).SetReadBuffer(1 << 20)
	l.allow(1 << 30)
}

func (l *line) Close() error {
	l.open()
	return l.Conn.Close()
}

// slowMember is a member of a room. Its client takes as much as the test allows.
type slowMember struct {
	allow func(n int)
	open  func()                    // allows everything
	post  func(packet string) error // sends something to the server
	take  func() ([]string, error)  // the next packets
}

// follow takes count messages, which must be in order.
func (m *slowMember) follow(count int) error {
	for seq := 1; seq <= count; {
		packets, err := m.take()
		if err != nil {
			return fmt.Errorf("after %d of %d messages: %w", seq-1, count, err)
		}
		for _, packet := range packets {
			switch {
			case packet == "2":
				if err := m.post("3"); err != nil {
					return err
				}
			case strings.HasPrefix(packet, `42["newMessage",`):
				_, rest, _ := strings.Cut(packet, `"seq":`)
				number, _, _ := strings.Cut(rest, ",")
				if number != strconv.Itoa(seq) {
					return fmt.Errorf("message %s, want %d", number, seq)
				}
				seq++
			}
		}
	}
	return nil
}

// await takes packets until one has the prefix.
func (m *slowMember) await(t *testing.T, prefix string) string {
	t.Helper()
	for {
		packets, err := m.take()
		if err != nil {
			t.Fatalf("waiting for %q: %v", prefix, err)
		}
		for _, packet := range packets {
			if strings.HasPrefix(packet, prefix) {
				return packet
			}
		}
	}
}

func slowWebSocket(t *testing.T, url, protocol string) *slowMember {
	t.Helper()
	var wire *line
	conn, _, err := ws.Dial(t.Context(), url+"/socket.io/?EIO="+protocol+"&transport=websocket", &ws.DialOptions{
		NetDial: func(ctx context.Context, network, address string) (net.Conn, error) {
			l, err := dialLine(ctx, network, address)
			if wire = l; err == nil {
				l.allow(64 << 10)
			}
			return l, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	m := &slowMember{allow: wire.allow, open: wire.open}
	m.post = func(packet string) error { return conn.WriteMessage(t.Context(), ws.OpText, []byte(packet)) }
	m.take = func() ([]string, error) {
		_, packet, err := conn.ReadMessage(t.Context())
		return []string{string(packet)}, err
	}
	return m
}

// slowSSE uses the transport sse.
func slowSSE(t *testing.T, url string) *slowMember {
	t.Helper()
	url += "/socket.io/?EIO=4&transport=sse"
	wire, err := dialLine(t.Context(), "tcp", strings.TrimPrefix(url[:strings.Index(url, "/socket.io")], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wire.Close() })
	wire.allow(64 << 10)
	fmt.Fprintf(wire, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", url[strings.Index(url, "/socket.io"):])
	lines := bufio.NewReader(wire)
	m := &slowMember{allow: wire.allow, open: wire.open}
	m.take = func() ([]string, error) {
		for {
			text, err := lines.ReadString('\n')
			if data, ok := strings.CutPrefix(text, "data: "); ok || err != nil {
				return []string{strings.TrimSpace(data)}, err
			}
		}
	}
	m.post = poster(t, url, m.await(t, "0{"))
	return m
}

// slowPolling polls each time that it may take something.
func slowPolling(t *testing.T, url string) *slowMember {
	t.Helper()
	url += "/socket.io/?EIO=4&transport=polling"
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	polls := make(chan bool, 1000)
	m := &slowMember{}
	m.allow = func(n int) {
		for range min(n/(4<<10), cap(polls)-len(polls)) {
			polls <- true
		}
	}
	m.open = func() { m.allow(1 << 30) }
	poll := func(sid string) ([]string, error) {
		resp, err := client.Get(url + sid)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != 200 {
			err = errors.New(string(body))
		}
		return strings.Split(string(body), "\x1e"), err
	}
	opened, err := poll("")
	if err != nil {
		t.Fatal(err)
	}
	m.post = poster(t, url, opened[0])
	sid := sessionOf(t, opened[0])
	m.take = func() ([]string, error) {
		<-polls
		return poll(sid)
	}
	m.allow(16 << 10)
	return m
}

func sessionOf(t *testing.T, opened string) string {
	t.Helper()
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(opened, "0")), &open); err != nil {
		t.Fatal(err)
	}
	return "&sid=" + open.SID
}

// poster returns a function that POSTs packets to the session that OPEN names.
func poster(t *testing.T, url, opened string) func(string) error {
	t.Helper()
	url += sessionOf(t, opened)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return func(packet string) error {
		resp, err := client.Post(url, "text/plain", strings.NewReader(packet))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
}

// A member sends far more than the outbox of another may hold, faster than it can be taken. Nobody
// is disconnected, little is queued, and everybody gets each message once and in order.
func TestMembersWithSlowLines(t *testing.T) {
	const messages, size, outbox = 100, 60 << 10, 1 << 20
	c := testConfig()
	c.MaxOutbox, c.PingTimeout = outbox, time.Hour
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	members := map[string]*slowMember{
		"websocket":              slowWebSocket(t, i.url, "4"),
		"websocket, Engine.IO 3": slowWebSocket(t, i.url, "3"),
		"sse":                    slowSSE(t, i.url),
		"polling":                slowPolling(t, i.url),
	}
	for name, m := range members {
		if name != "websocket, Engine.IO 3" {
			m.post("40")
		}
		m.await(t, "40")
		m.post(`42["joinRoom",{"roomId":"r"}]`)
		m.await(t, `42["history",`)
	}
	ends := make(chan error, len(members))
	for name, m := range members {
		go func() {
			err := m.follow(messages)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			ends <- err
		}()
	}
	sender := i.dial(t)
	join(t, sender, object{"roomId": "r", "userId": "u"})
	text, most, behind := strings.Repeat("x", size), 0, 0
	for range messages {
		send(t, sender, object{"roomId": "r", "message": text})
		most, behind = max(most, app.MostQueued(s)), max(behind, app.Behind(s))
		for _, m := range members {
			m.allow(4 << 10)
		}
	}
	if behind < len(members)-1 { // polling takes everything at once
		t.Errorf("%d were behind", behind)
	}
	if limit := outbox/4 + 2*size; most > limit {
		t.Errorf("%d bytes were queued for one member, over %d", most, limit)
	}
	for _, m := range members {
		m.open()
	}
	for range members {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if n := app.SlowConsumers(s); n > 0 {
		t.Errorf("%d were disconnected", n)
	}
	waitFor(t, "the end of being behind", func() bool { return app.Behind(s) == 0 })
	for _, m := range members {
		m.post("1") // otherwise the shutdown would wait for polls
	}
}

// Many feeds read a long history slowly, while others write. Little is queued for each, nobody is
// disconnected, the write-ahead log does not grow, and everybody gets each message once and in
// order. The same holds for what is sent while they are live.
func TestFeedsWithSlowLines(t *testing.T) {
	const feeds, old, live, size, outbox = 50, 400, 100, 8 << 10, 64 << 10
	c := testConfig()
	c.MaxOutbox, c.Data = outbox, filepath.Join(t.TempDir(), "data")
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	write := func(room string, size int) {
		t.Helper()
		message := json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
		if err := app.Append(s, history.Draft{RoomID: room, UserID: "u", Message: message}); err != nil {
			t.Error(err)
		}
	}
	for range old {
		write("r", size)
	}
	var lines [feeds]*line
	for k := range lines {
		if lines[k], err = dialLine(t.Context(), "tcp", strings.TrimPrefix(i.url, "http://")); err != nil {
			t.Fatal(err)
		}
		defer lines[k].Close()
		fmt.Fprintf(lines[k], "GET /rooms/r/events?lastEventId=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	ends := make(chan error, 2*feeds)
	for _, l := range lines {
		go func() {
			r := bufio.NewReader(l)
			seq := 1
			for _, upTo := range []int{old, old + live} {
				var err error
				for seq <= upTo && err == nil {
					var text string
					if text, err = r.ReadString('\n'); strings.HasPrefix(text, "event: newMessage") {
						_, err = r.ReadString(':')
						text, _ = r.ReadString('\n')
						if !strings.Contains(text, fmt.Sprintf(`"seq":%d,`, seq)) {
							err = fmt.Errorf("want %d, got %.100s", seq, text)
						}
						seq++
					}
				}
				ends <- err
			}
		}()
	}
	check := func() {
		t.Helper()
		if st := app.FeedStats(s); st.Slow > 0 || st.Streams != feeds || st.Queued > feeds*(outbox/4+2*size) {
			t.Fatalf("feeds: %+v", st)
		}
	}
	waitFor(t, "feeds that are behind", func() bool { return app.Behind(s) == feeds })
	for n := range 100 { // 48 MB
		var writing sync.WaitGroup
		for range 8 {
			writing.Go(func() { write("other", 60<<10) })
		}
		writing.Wait()
		if check(); n%5 == 0 {
			for _, l := range lines {
				l.allow(64 << 10)
			}
		}
	}
	if n := app.Behind(s); n < feeds {
		t.Errorf("%d feeds are behind, the others have read all", n)
	}
	if size, err := app.LogBytes(s); err != nil || size > 32<<20 {
		t.Errorf("the write-ahead log has %d bytes, %v", size, err)
	}
	finish := func() {
		t.Helper()
		for _, l := range lines {
			l.open()
		}
		for range feeds {
			if err := <-ends; err != nil {
				t.Fatal(err)
			}
		}
	}
	finish()
	for _, l := range lines {
		l.allow(-l.left())
	}
	for range live {
		write("r", size)
		check()
	}
	finish()
	check()
	waitFor(t, "the end of being behind", func() bool { st := app.FeedStats(s); return st.Queued == 0 && st.Behind == 0 })
}

func (l *line) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.allowed
}
