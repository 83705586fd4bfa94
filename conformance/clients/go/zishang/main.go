// Command zishang uses the client of github.com/zishang520/socket.io. ../../../languages.test.mjs
// describes the steps.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"reflect"
	"strings"
	"time"

	engine "github.com/zishang520/socket.io/clients/engine/v3"
	client "github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

const (
	text    = "é€😀𝒳\u2028\n\"\\"
	timeout = 2 * time.Minute
	alive   = 6800 * time.Millisecond // a session without heartbeats would not live so long
)

var what, url, way = os.Args[1], os.Args[2], os.Args[3]

type object = map[string]any

func main() {
	log.SetFlags(log.Lshortfile)
	if what == "scenario" {
		scenario()
	} else {
		conversation()
	}
}

func scenario() {
	values := []any{text, 1.0, nil, true, object{"ключ": []any{text, []any{}, object{}}}, strings.Repeat(text, 2000)}
	large := make([]byte, 70_000)
	for i := range large {
		large[i] = byte(i % 251)
	}
	binary := []any{[]byte{0, 1, 4, 0x1e, 255}, text, object{"deep": []any{large}}, []byte{}}

	m := manager()
	s := of(m, "/", text)
	auth, back, news := hear(s, "auth"), hear(s, "message-back"), hear(s, "news")
	gone := hear(s, "disconnect")
	questions := make(heard, 1)
	answer := object{"text": text, "binary": []byte{4, 3}}
	s.On("question", func(args ...any) {
		last := len(args) - 1
		questions <- args[:last]
		args[last].(socket.Ack)([]any{answer}, nil)
	})
	s.Connect()
	same(auth.next(), []any{object{"token": text}})
	me := ask(s, "whoami")[0].(object)
	for way == "upgrade" && me["transport"] != "websocket" { // until the upgrade is done
		me = ask(s, "whoami")[0].(object)
	}
	same([]any{me["id"], me["transport"] == "polling"}, []any{s.Id(), way == "polling"})
	ok("connect")

	for _, sent := range [][]any{values, {}} {
		s.Emit("message", sent...)
		same(back.next(), sent)
	}
	ok("events")

	s.Emit("message", binary...)
	same(back.next(), binary)
	ok("binary")

	for _, sent := range [][]any{values, binary} {
		same(ask(s, "message-with-ack", sent...), sent)
	}
	ok("acknowledgements")

	same(ask(s, "ask", 5000, []byte{9}), []any{answer})
	same(questions.next(), []any{[]byte{9}})
	ok("answers")

	other := connected()
	notForMe := hear(other, "news")
	ask(s, "join", "room")
	ask(other, "broadcast", object{"to": []string{"room"}, "self": true}, "news", text, large)
	same(news.next(), []any{text, large})
	ask(other, "message-with-ack")
	same(len(notForMe), 0)
	other.Disconnect()
	ok("rooms")

	// Each socket has its own connection, because a socket that leaves a manager also removes the
	// listeners of the manager's other sockets.
	custom := of(manager(), "/custom", "another")
	customAuth, customBack, customGone := hear(custom, "auth"), hear(custom, "message-back"), hear(custom, "disconnect")
	custom.Connect()
	same(customAuth.next(), []any{object{"token": "another"}})
	custom.Emit("message", values...)
	same(customBack.next(), values)
	stranger := of(manager(), "/refused", "")
	refusals := hear(stranger, "connect_error")
	stranger.Connect()
	refusal := refusals.next()[0].(*socket.ExtendedError)
	same(refusal.Message, "Not authorized")
	same(refusal.Data, object{"code": "E1", "label": "no token"})
	ok("namespaces")

	custom.Emit("disconnect-me", false)
	same(customGone.next()[0], "io server disconnect")
	same(ask(s, "message-with-ack", 1), []any{1.0})
	ok("the server disconnects")

	before := s.Id()
	time.Sleep(alive)
	same(len(gone), 0)
	same(ask(s, "whoami")[0].(object)["id"], before)
	ok("heartbeat")

	m.SetTimeout(20 * time.Second) // see manager; longer than the next steps take
	fmt.Println("restart")
	fmt.Scanln()
	gone.next()
	auth.next()
	s.Emit("message", binary...)
	same(back.next(), binary)
	same(s.Id() == before, false)
	ok("the server is restarted")

	watcher := connected()
	left := hear(watcher, "left")
	ask(watcher, "join", "watchers")
	id := s.Id()
	s.Disconnect()
	// Disconnect closes the connection without waiting until it has written its queue.
	how := left.next()
	same(how[0], id)
	same(how[1] == "client namespace disconnect" || how[1] == "transport close", true)
	ok("the client disconnects")
}

func conversation() {
	s := connected()
	live := hear(s, "newMessage")
	page := ask(s, "joinRoom", object{"roomId": "r", "userId": "other"})[0].(object)
	messages := page["messages"].([]any)
	same(len(messages), 1)
	same(messages[0].(object)["message"], text)
	members := page["members"].([]any)
	same([]any{members[0].(object)["userId"], members[1].(object)["userId"]}, []any{"ada", "other"})
	sent := ask(s, "sendMessage", object{"roomId": "r", "message": object{"text": text}, "clientId": "c1"})[0]
	same(sent.(object)["seq"], 2.0)
	same(sent.(object)["message"], object{"text": text})
	same(live.next(), []any{sent})
	reply := live.next()[0].(object)
	same(reply["seq"], 3.0)
	same(reply["message"], []any{"reply", text})
	history := ask(s, "history", object{"roomId": "r", "after": 0})[0].(object)
	same(history["messages"], append(messages, sent, reply))
	ok("conversation")
	s.Disconnect()
}

// manager returns a manager that is already connected. If its sockets connected it, they would
// sometimes join twice, and the server would disconnect them.
func manager() *client.Manager {
	o := client.DefaultManagerOptions()
	o.SetAutoConnect(false)
	o.SetReconnectionDelay(50)
	o.SetReconnectionDelayMax(200)
	transports := types.NewSet[engine.TransportCtor]()
	if way != "websocket" {
		transports.Add(client.Polling)
	}
	if way != "polling" {
		transports.Add(client.WebSocket)
	}
	o.SetTransports(transports)
	// The manager begins to connect before it listens, so it may miss that it is connected. Or it
	// fails to stop its timer then, and the timer cuts the connection when it fires.
	o.SetTimeout(time.Hour)
	for range 20 {
		m := client.NewManager(url, o)
		opened := make(chan error, 1)
		m.Open(func(err error) {
			select {
			case opened <- err:
			default: // the manager has already reported
			}
		})
		select {
		case err := <-opened:
			if err == nil {
				return m
			}
		case <-time.After(500 * time.Millisecond):
		}
	}
	log.Fatal("it does not connect")
	return nil
}

// of returns a socket in a namespace that authenticates with a token.
func of(m *client.Manager, namespace, token string) *client.Socket {
	o := client.DefaultSocketOptions()
	if token != "" {
		o.SetAuth(object{"token": token})
	}
	return m.Socket(namespace, o)
}

func connected() *client.Socket {
	s := of(manager(), "/", "")
	connects := hear(s, "connect")
	s.Connect()
	connects.next()
	return s
}

// ask emits an event and waits for the acknowledgement.
func ask(s *client.Socket, event string, args ...any) []any {
	answer := make(heard, 1)
	s.EmitWithAck(event, args...)(func(args []any, err error) {
		if err != nil {
			log.Fatalf("%s: %v", event, err)
		}
		answer <- args
	})
	return answer.next()
}

// heard receives the arguments of listeners.
type heard chan []any

func hear(s *client.Socket, event string) heard {
	h := make(heard, 100)
	s.On(types.EventName(event), func(args ...any) { h <- args })
	return h
}

func (h heard) next() []any {
	select {
	case args := <-h:
		return args
	case <-time.After(timeout):
		log.Output(2, "nothing came")
		os.Exit(1)
		return nil
	}
}

func ok(step string) { fmt.Println("ok", step) }

func same(got, wanted any) {
	if got, wanted = plain(got), plain(wanted); !reflect.DeepEqual(got, wanted) {
		log.Output(2, fmt.Sprintf("%.500s is not %.500s", fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", wanted)))
		os.Exit(1)
	}
}

// plain converts binary data, which arrives as buffers, to bytes.
func plain(v any) any {
	switch v := v.(type) {
	case []byte:
		return append([]byte{}, v...)
	case types.BufferInterface:
		return append([]byte{}, bytes.Clone(v.Bytes())...)
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = plain(v[i])
		}
		return all
	case object:
		all := object{}
		for name := range v {
			all[name] = plain(v[name])
		}
		return all
	}
	return v
}
