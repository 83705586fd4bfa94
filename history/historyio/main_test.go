package historyio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historyio"
	"github.com/parley-go/parley/internal/ws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits every wait. Nothing that works comes close to it.
const patience = 20 * time.Second

// joinRequest is the argument of "join".
type joinRequest struct {
	Room  string `json:"room"`
	After int64  `json:"after"`
	Epoch string `json:"epoch"`
}

// server serves the rooms of a store to clients that emit "join" and "leave".
type server struct {
	*parley.Server
	log   *history.Log
	rooms *historyio.Rooms
	url   string
	gone  chan parley.Reason
}

func serve(t *testing.T, store history.Store, recovery *parley.Recovery, o *historyio.Options) *server {
	t.Helper()
	return serveLog(t, history.NewLog(store, nil), recovery, o)
}

func serveLog(t *testing.T, log *history.Log, recovery *parley.Recovery, o *historyio.Options) *server {
	t.Helper()
	srv, err := parley.New(&parley.Options{Recovery: recovery, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	s := &server{srv, log, historyio.New(srv, log, o), web.URL, make(chan parley.Reason, 1000)}
	srv.On("join", func(p *parley.Packet) error {
		var q joinRequest
		if err := p.Decode(&q); err != nil {
			return err
		}
		from := history.OpenOptions{Since: q.After, Epoch: q.Epoch}
		return s.rooms.Join(p.Context(), p.Socket(), q.Room, from, func(opened history.Opened) { p.Ack(opened) })
	})
	srv.On("leave", func(p *parley.Packet) error {
		var room string
		if err := p.Decode(&room); err != nil {
			return err
		}
		s.rooms.Leave(p.Socket(), room)
		return p.Ack()
	})
	srv.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { s.gone <- r })
	t.Cleanup(func() {
		srv.Close()
		web.Close()
		log.Close()
	})
	return s
}

// say appends a message and returns its number.
func (s *server) say(t *testing.T, room, text string) int64 {
	t.Helper()
	message, _ := json.Marshal(text)
	stored, err := s.log.Append(t.Context(), history.Draft{RoomID: room, UserID: "u", Message: message})
	if err != nil {
		t.Fatal(err)
	}
	return stored.Message.Seq
}

// client speaks Socket.IO over a WebSocket and can recover its socket.
type client struct {
	conn        *ws.Conn
	url         string
	pid, offset string
	after       int64 // its last message
	epoch       string
}

// dial connects, using what the client remembers from earlier connections. It returns the events
// that arrived before the answer: those that a recovered client missed.
func (c *client) dial(ctx context.Context) (missed []string, err error) {
	if c.conn, _, err = ws.Dial(ctx, c.url+"/socket.io/?EIO=4&transport=websocket", nil); err != nil {
		return nil, err
	}
	if _, err := c.next(ctx, "0{"); err != nil {
		return nil, err
	}
	auth, _ := json.Marshal(map[string]string{"pid": c.pid, "offset": c.offset})
	if c.pid == "" {
		auth = nil
	}
	if err := c.write(ctx, "40"+string(auth)); err != nil {
		return nil, err
	}
	for {
		packet, err := c.next(ctx, "")
		if err != nil {
			return nil, err
		}
		answer, ok := strings.CutPrefix(packet, "40")
		if !ok {
			missed = append(missed, packet)
			continue
		}
		var connected struct{ PID string }
		err = json.Unmarshal([]byte(answer), &connected)
		c.pid = connected.PID
		return missed, err
	}
}

func (c *client) write(ctx context.Context, packet string) error {
	return c.conn.WriteMessage(ctx, ws.OpText, []byte(packet))
}

// next returns the next packet that is not a ping. It must begin with prefix.
func (c *client) next(ctx context.Context, prefix string) (string, error) {
	for {
		_, b, err := c.conn.ReadMessage(ctx)
		packet := string(b)
		switch {
		case err != nil:
			return "", err
		case packet == "2":
			if err := c.write(ctx, "3"); err != nil {
				return "", err
			}
		case !strings.HasPrefix(packet, prefix):
			return "", fmt.Errorf("got %q, want %q", packet, prefix)
		default:
			c.note(packet)
			return packet, nil
		}
	}
}

// note remembers an event's offset.
func (c *client) note(packet string) {
	var args []any
	if c.pid != "" && json.Unmarshal([]byte(strings.TrimPrefix(packet, "42")), &args) == nil && len(args) > 1 {
		c.offset, _ = args[len(args)-1].(string)
	}
}

// ask emits an event and returns its acknowledgement.
func (c *client) ask(ctx context.Context, event string, arg any) (string, error) {
	b, err := json.Marshal([]any{event, arg})
	if err != nil {
		return "", err
	}
	if err := c.write(ctx, "427"+string(b)); err != nil {
		return "", err
	}
	packet, err := c.next(ctx, "437[")
	return strings.TrimPrefix(packet, "437"), err
}

// join joins a room after the last message that the client has, and returns the texts of the page.
func (c *client) join(ctx context.Context, room string) (texts []string) {
	answer, err := c.ask(ctx, "join", joinRequest{Room: room, After: c.after, Epoch: c.epoch})
	var opened []history.Opened
	if err != nil || json.Unmarshal([]byte(answer), &opened) != nil {
		return []string{answer, fmt.Sprint(err)}
	}
	for _, m := range opened[0].Messages {
		texts = append(texts, strings.Trim(string(m.Message), `"`))
	}
	c.after, c.epoch = opened[0].LastSeq, opened[0].Epoch
	return texts
}

// hear returns the text of the next live message.
func (c *client) hear(ctx context.Context) string {
	packet, err := c.next(ctx, `42["newMessage",`)
	if err != nil {
		return err.Error()
	}
	m, err := message(packet)
	if err != nil {
		return err.Error()
	}
	c.after = m.Seq
	return strings.Trim(string(m.Message), `"`)
}

// message returns the argument of a newMessage event.
func message(packet string) (m history.Message, err error) {
	var args []json.RawMessage
	if err := json.Unmarshal([]byte(strings.TrimPrefix(packet, "42")), &args); err != nil {
		return m, err
	}
	if string(args[0]) != `"newMessage"` {
		return m, fmt.Errorf("%q is no message", packet)
	}
	return m, json.Unmarshal(args[1], &m)
}
