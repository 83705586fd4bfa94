package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/ws"
)

// revoke revokes a token by its id.
func (d *closed) revoke(ctx context.Context, jti string) {
	d.t.Helper()
	if _, err := d.access.Revoke(ctx, access.Revocation{Subject: "jti:" + jti}); err != nil {
		d.t.Error(err)
	}
}

// A feed that opens while its token is revoked does not open, or ends.
func TestRevokedWhileAFeedOpens(t *testing.T) {
	d := startClosed(t, func(c *app.Config) { c.Data, c.Search = "memory", false })
	opened := 0
	for i := range 100 {
		jti := fmt.Sprint("t", i)
		header := withBearer(tokenOf("u7", `,"jti":"`+jti+`"`)).header
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(time.Duration(i*10) * time.Microsecond)
			d.revoke(context.Background(), jti)
		}()
		f, err := d.feed("/rooms/lounge/events", header)
		if <-done; err != nil {
			continue
		}
		opened++
		if last := f.rest(); last.name != "error" || !strings.Contains(last.data, "bad_token") {
			t.Fatalf("feed %d ends with %+v", i, last)
		}
	}
	t.Logf("%d of 100 feeds opened", opened)
}

// What a client sends after its access was revoked is not stored, however busy its connection was.
func TestNothingIsStoredAfterARevocation(t *testing.T) {
	d := startClosed(t, func(c *app.Config) { c.OpenRooms = auth.Grants{{Pattern: "*", Rights: auth.Read | auth.Write}} })
	other := d.mustConnect("websocket", withToken(tokenOf("bot", `,"parley":{"role":"service"}`)))
	for transport := range transports {
		jti := "of-" + transport
		c := d.mustConnect(transport, withToken(tokenOf("anna-"+transport, `,"jti":"`+jti+`"`+asOperator)))
		c.mustAsk("joinRoom", object{"roomId": transport})
		other.mustAsk("joinRoom", object{"roomId": transport})
		var begun atomic.Int64
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := int64(1); ; i++ {
				begun.Store(i)
				if c.write(fmt.Sprintf(`42["sendMessage",{"roomId":%q,"message":%d}]`, transport, i)) != nil {
					return
				}
				pause := time.Millisecond
				if i > 90 { // what an operator may send in the long run
					pause = 50 * time.Millisecond
				}
				select {
				case <-c.done:
					return
				case <-time.After(pause):
				}
			}
		}()
		waitFor(t, "messages over "+transport, func() bool { return other.heard(`"roomId":"`+transport+`"`) >= 20 })
		d.revoke(t.Context(), jti)
		last := begun.Load()
		<-c.done
		c.close()
		<-sent
		var page struct{ Messages []struct{ Message int64 } }
		json.Unmarshal(other.mustAsk("history", object{"roomId": transport, "limit": 1}), &page)
		if len(page.Messages) != 1 || page.Messages[0].Message > last {
			t.Errorf("%s: %+v is stored, and the access was revoked while %d was sent", transport, page, last)
		}
	}
}

// heard returns how many packets with a text have come.
func (c *caller) heard(text string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, packet := range c.received {
		if strings.Contains(packet, text) {
			n++
		}
	}
	return n
}

// A client whose access was revoked gets nothing by what it had: its session on any transport, an
// upgrade that has begun, and what the protocol knows for coming back to a former socket.
func TestRevokedClientsDoNotComeBack(t *testing.T) {
	d := startClosed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	token := tokenOf("u7", `,"jti":"t1"`)
	var sid string
	get := func(method, query, body string) (status int, payload string) {
		t.Helper()
		resp, err := d.fetch(ctx, method, query, shows{}, body)
		var refused *httpError
		if errors.As(err, &refused) {
			return refused.status, ""
		} else if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return 200, string(answer)
	}
	// It polls, is in a room, and is about to upgrade.
	_, open := get("GET", "EIO=4&transport=polling", "")
	sid = between(open, `"sid":"`, `"`)
	old := "EIO=4&transport=polling&sid=" + sid
	get("POST", old, `40{"token":"`+token+`"}`)
	_, connected := get("GET", old, "")
	get("POST", old, `420["joinRoom",{"roomId":"lounge"}]`)
	if _, joined := get("GET", old, ""); !strings.HasPrefix(joined, `430[{"roomId":"lounge"`) {
		t.Fatalf("joined: %q", joined)
	}
	probe, _, err := ws.Dial(ctx, d.url+"/socket.io/?EIO=4&transport=websocket&sid="+sid, &ws.DialOptions{TLS: d.trust})
	if err != nil {
		t.Fatal(err)
	}
	defer probe.CloseNow()
	probe.WriteMessage(ctx, ws.OpText, []byte("2probe"))
	if _, pong, err := probe.ReadMessage(ctx); err != nil || string(pong) != "3probe" {
		t.Fatalf("probe: %q, %v", pong, err)
	}
	d.revoke(ctx, "t1")
	if err := app.Append(d.server, draft("lounge", "for members")); err != nil {
		t.Fatal(err)
	}

	probe.WriteMessage(ctx, ws.OpText, []byte("5"))
	probe.WriteMessage(ctx, ws.OpText, []byte(`421["history",{"roomId":"lounge"}]`))
	for {
		_, packet, err := probe.ReadMessage(ctx)
		if err != nil {
			break
		}
		if text := string(packet); text != "1" && text != "41" && text != "6" {
			t.Errorf("the upgraded session gets %q", text)
		}
	}
	for _, transport := range []string{"polling", "sse", "websocket"} {
		status, payload := get("GET", "EIO=4&transport="+transport+"&sid="+sid, "")
		if status != 400 || payload != "" {
			t.Errorf("the old session over %s: %d %q", transport, status, payload)
		}
	}
	if status, _ := get("POST", old, `422["sendMessage",{"roomId":"lounge","message":"mine"}]`); status != 400 {
		t.Errorf("a packet of the old session: %d", status)
	}

	pid, ofSocket := between(connected, `"pid":"`, `"`), between(connected, `"sid":"`, `"`)
	last := fmt.Sprintf(`"pid":%q,"offset":"","sid":%q`, pid+ofSocket, ofSocket)
	for transport := range transports {
		if _, err := d.connect(transport, shows{auth: `{"token":"` + token + `",` + last + `}`}); codeOf(err) != string(conversation.BadToken) {
			t.Errorf("it comes back over %s: %v", transport, err)
		}
		c := d.mustConnect(transport, shows{auth: `{"token":"` + tokenOf("u8", "") + `",` + last + `}`})
		if _, code := c.ask("sendMessage", object{"roomId": "lounge", "message": 1}); code != "not_joined" {
			t.Errorf("somebody else with its names over %s: %q", transport, code)
		}
		if n := c.heard("for members"); n > 0 {
			t.Errorf("somebody else over %s gets what was for the members", transport)
		}
	}
}

// between returns the text between two others.
func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}

// Of many who use a ticket at the same moment, at any door, one gets in.
func TestTicketIsUsedOnce(t *testing.T) {
	d := startClosed(t)
	for range 5 {
		ticket := d.ticket(withBearer(tokenOf("u7", "")).header, "/socket.io/")
		results := make(chan error)
		n := 0
		for transport := range transports {
			for range 3 {
				n++
				go func() {
					_, err := d.connect(transport, shows{query: "&ticket=" + ticket})
					results <- err
				}()
			}
		}
		in := 0
		for range n {
			if err := <-results; err == nil {
				in++
			} else if codeOf(err) != string(conversation.BadToken) {
				t.Error(err)
			}
		}
		if in != 1 {
			t.Errorf("%d got in", in)
		}
	}
}

// stream is a response that a feed writes. It is read while it grows.
type stream struct {
	*httptest.ResponseRecorder
	*io.PipeWriter
}

func (s *stream) Header() http.Header         { return s.ResponseRecorder.Header() }
func (s *stream) Write(b []byte) (int, error) { return s.PipeWriter.Write(b) }
func (s *stream) Flush()                      {}

func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// A ticket lasts for a minute. That of a feed opens the feed again until a minute after it was last
// closed, and not later.
func TestTicketsLastAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig()
		c.TokenSecrets = []string{secret}
		c.OpenRooms = auth.Grants{{Pattern: "*", Rights: auth.Read}}
		s, err := app.NewServer(c, quiet, history.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Shutdown()
		const path = "/rooms/lounge/events"
		header := withBearer(tokenOf("u7", "")).header
		ask := func(method, path, body string) *http.Request {
			r := httptest.NewRequest(method, "https://127.0.0.1"+path, strings.NewReader(body))
			r.Header = header.Clone()
			r.Header.Set("Content-Type", "application/json")
			return r
		}
		ticket := func(path string) string {
			w := httptest.NewRecorder()
			app.Routes(s).ServeHTTP(w, ask("POST", "/api/tickets", fmt.Sprintf(`{"path":%q}`, path)))
			return "?ticket=" + between(w.Body.String(), `"ticket":"`, `"`)
		}
		// open opens a feed for a while, and returns whether that worked.
		open := func(ticket string, after int, while time.Duration) bool {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := httptest.NewRequest("GET", "https://127.0.0.1"+path+ticket, nil).WithContext(ctx)
			r.Header.Set("Last-Event-ID", app.Epoch(s)+"-"+strconv.Itoa(after))
			read, write := io.Pipe()
			w := &stream{httptest.NewRecorder(), write}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer write.Close()
				defer func() {
					if v := recover(); v != nil && v != http.ErrAbortHandler { // so a feed ends
						panic(v)
					}
				}()
				app.Routes(s).ServeHTTP(w, r)
			}()
			live := false
			lines := bufio.NewScanner(read)
			for lines.Scan() && !live {
				live = lines.Text() == "event: live"
			}
			go io.Copy(io.Discard, read)
			if live {
				time.Sleep(while)
			}
			cancel()
			<-ended
			return live
		}
		late := ticket(path)
		time.Sleep(access.TicketLife)
		if open(late, 0, 0) {
			t.Error("a ticket that was not used in time opens a feed")
		}
		used := ticket(path)
		time.Sleep(access.TicketLife - time.Second)
		for i := range 3 {
			if !open(used, 0, 10*time.Minute) {
				t.Errorf("opening %d: refused", i)
			}
			time.Sleep(access.TicketLife - time.Second)
		}
		time.Sleep(2 * time.Second)
		if open(used, 0, 0) {
			t.Error("a ticket opens a feed that was closed more than a minute ago")
		}
		if !open(ticket(path), 0, 0) {
			t.Error("a new ticket opens nothing")
		}
	})
}
