// Command twin is an application written twice: here on Parley, and in server.mjs on the reference.
// The tests beside it perform the same client actions with both, then compare what the clients and
// the applications saw.
//
// The application does what its clients tell it to do. A step is an array: its name and its
// arguments. A client sends steps in three places: in its auth object as "use" (middleware runs
// them) and "on" (the connection handler runs them), and in the event "do". In its reports the
// application calls the client by the auth object's "as".
//
// The options are JSON in the first argument. The program prints one line of JSON for the port and
// for each thing that the application saw.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley"
)

// options are the options of both applications. Durations are in milliseconds.
type options struct {
	PingInterval, PingTimeout, ConnectTimeout, UpgradeTimeout int

	MaxPayload         int64
	Path, Origin       string
	Transports         []string
	Cookie             bool
	Compression        bool
	Msgpack            bool
	Legacy             bool // allow clients of Socket.IO 2
	Recovery           int  // how long clients may be away
	RecoveryMiddleware bool // middleware also runs for recovered clients
	Refuse             string
	EmitFirst          []string // namespaces that the application emits to before any client connects
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func (o *options) parley() *parley.Options {
	p := &parley.Options{
		PingInterval: ms(o.PingInterval), PingTimeout: ms(o.PingTimeout),
		ConnectTimeout: ms(o.ConnectTimeout), UpgradeTimeout: ms(o.UpgradeTimeout),
		MaxPayload: o.MaxPayload, Path: o.Path, Transports: o.Transports, AllowEIO3: o.Legacy, JSONP: o.Legacy,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if o.Origin != "" {
		p.CORS = parley.CORS{Origins: []string{o.Origin}, Credentials: o.Origin != "*"}
	}
	if o.Cookie {
		p.Cookie = &http.Cookie{Name: "io", Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	}
	if o.Compression {
		p.Compression = &parley.Compression{}
	}
	if o.Msgpack {
		p.Parser = parley.ParserMsgpack
	}
	if o.Recovery > 0 {
		p.Recovery = &parley.Recovery{MaxDisconnection: ms(o.Recovery), RunMiddleware: o.RecoveryMiddleware}
	}
	if o.Refuse != "" {
		p.AllowRequest = func(*http.Request) error { return &parley.ConnectError{Message: o.Refuse} }
	}
	return p
}

func main() {
	var o options
	if err := json.Unmarshal([]byte(os.Args[1]), &o); err != nil {
		panic(err)
	}
	srv, err := parley.New(o.parley())
	if err != nil {
		panic(err)
	}
	a := &app{srv: srv, gates: map[string]chan struct{}{}}
	for _, at := range []string{"/", "/admin", "/chat"} {
		a.serve(srv.Of(at))
	}
	a.serve(srv.OfPattern(regexp.MustCompile(`/dyn-\w+`)))
	for _, at := range o.EmitFirst {
		srv.Of(at).Emit("first", 1)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	a.say("listening", l.Addr().(*net.TCPAddr).Port)
	srv.Serve(l)
	select {} // the driver ends the process
}

var errGuarded = errors.New("guarded")

type app struct {
	srv   *parley.Server
	mu    sync.Mutex
	gates map[string]chan struct{}
}

// say tells the driver what the application saw.
func (a *app) say(line ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := json.Marshal(plain(line))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", b)
}

// gate returns the channel that is closed when the gate opens. open opens it.
func (a *app) gate(name string, open bool) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gates[name] == nil {
		a.gates[name] = make(chan struct{})
	}
	if open {
		close(a.gates[name])
	}
	return a.gates[name]
}

// auth returns a field of the client's auth object.
func auth(raw json.RawMessage, key string) any {
	var all map[string]any
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all[key]
}

// plan returns the steps in a field of the auth object. Clients of Socket.IO 2 send them as text.
func plan(s *parley.Socket, key string) []any {
	steps := auth(s.Handshake().Auth, key)
	if text, ok := steps.(string); ok {
		if err := json.Unmarshal([]byte(text), &steps); err != nil {
			panic(err)
		}
	}
	list, _ := steps.([]any)
	return list
}

// name returns the name by which the driver knows a socket.
func name(h parley.Handshake, id string) string {
	if as, ok := auth(h.Auth, "as").(string); ok {
		return as
	}
	return id
}

func nameOf(s *parley.Socket) string { return name(s.Handshake(), s.ID()) }

// others returns the sorted rooms without the socket's own room, which has its id as its name.
func others(rooms []string, id string) []string {
	rooms = slices.DeleteFunc(slices.Clone(rooms), func(room string) bool { return room == id })
	slices.Sort(rooms)
	return append([]string{}, rooms...)
}

// namespaces is one namespace, or all namespaces of a rule.
type namespaces interface {
	parley.Listener
	Use(func(context.Context, *parley.Socket) error) *parley.Registration
	OnConnection(func(*parley.Socket)) *parley.Registration
	OnDisconnect(func(*parley.Socket, parley.Reason)) *parley.Registration
	OnError(func(*parley.Socket, error)) *parley.Registration
}

func (a *app) serve(h namespaces) {
	h.Use(func(_ context.Context, s *parley.Socket) error { return a.run(s, plan(s, "use"), nil) })
	h.OnConnection(func(s *parley.Socket) {
		a.say(nameOf(s), "connection", s.Namespace().Name(), s.Recovered())
		a.run(s, plan(s, "on"), nil)
	})
	h.OnDisconnect(func(s *parley.Socket, reason parley.Reason) {
		a.say(nameOf(s), "disconnect", s.Namespace().Name(), reason, others(s.Rooms(), s.ID()))
	})
	h.OnError(func(s *parley.Socket, err error) {
		if errors.Is(err, errGuarded) {
			a.say(nameOf(s), "error", err.(*parley.EventError).Err.Error())
		}
	})
	h.On("echo", func(p *parley.Packet) error {
		values, err := p.Values()
		if err != nil {
			return err
		}
		return p.Ack(values...)
	})
	h.On("back", func(p *parley.Packet) error {
		values, err := p.Values()
		if err != nil {
			return err
		}
		return p.Socket().Emit("back", values...)
	})
	h.On("note", func(p *parley.Packet) error {
		values, err := p.Values()
		if err != nil {
			return err
		}
		a.say(append([]any{nameOf(p.Socket()), "note"}, values...)...)
		return nil
	})
	h.On("do", func(p *parley.Packet) error {
		values, err := p.Values()
		if err != nil {
			return err
		}
		if err := a.run(p.Socket(), values[0].([]any), p); err != nil {
			return err
		}
		if p.WantsAck() {
			p.Ack() // fails if the steps have ended the connection
		}
		return nil
	})
}

// how selects sockets.
type how struct {
	From                      string // "all" (the default), "self", "others", or a namespace
	To, Except                []string
	Volatile, Local, Compress *bool
	Timeout                   int
}

func (a *app) chosen(s *parley.Socket, described any) *parley.Broadcast {
	var h how
	b, err := json.Marshal(described)
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		panic(err)
	}
	var choice *parley.Broadcast
	switch h.From {
	case "", "all":
		choice = s.Namespace().All()
	case "self":
		choice = s.Compress(true)
	case "others":
		choice = s.Broadcast()
	default:
		choice = a.srv.Of(h.From).All()
	}
	if h.Volatile != nil {
		choice = choice.Volatile()
	}
	if h.Local != nil {
		choice = choice.Local()
	}
	if h.Compress != nil {
		choice = choice.Compress(*h.Compress)
	}
	if h.Timeout > 0 {
		choice = choice.Timeout(ms(h.Timeout))
	}
	if h.To != nil {
		choice = choice.To(h.To...)
	}
	if h.Except != nil {
		choice = choice.Except(h.Except...)
	}
	return choice
}

// run takes the steps one after the other. p is the event that brought them, or nil.
func (a *app) run(s *parley.Socket, steps []any, p *parley.Packet) error {
	for _, step := range steps {
		list := step.([]any)
		if err := a.do(s, list[0].(string), list[1:], p); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) do(s *parley.Socket, step string, args []any, p *parley.Packet) error {
	me := nameOf(s)
	text := func(i int) string { return args[i].(string) }
	texts := func(from int) []string {
		all := []string{}
		for _, arg := range args[from:] {
			all = append(all, arg.(string))
		}
		return all
	}
	switch step {
	case "emit": // event, argument…: to the client itself
		s.Emit(text(0), args[1:]...)
	case "flood": // event, size, times: a number and a text of the size, to the client itself
		for i := range int(args[2].(float64)) {
			s.Emit(text(0), i, strings.Repeat("x", int(args[1].(float64))))
		}
	case "send": // how, event, argument…
		return a.chosen(s, args[0]).Emit(text(1), args[2:]...)
	case "tryEmit": // event: reports whether its name is refused
		if s.Emit(text(0), 1) == nil {
			a.say(me, "emitted", text(0))
		} else {
			a.say(me, "refused", text(0))
		}
	case "askAll": // label, how, event, argument…: reports the answers under the label
		go func() {
			// Without a timeout the reference waits forever.
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			replies, err := a.chosen(s, args[1]).EmitWithAck(ctx, text(2), args[3:]...)
			answers := []any{}
			for _, reply := range replies {
				answers = append(answers, first(reply))
			}
			slices.SortFunc(answers, func(x, y any) int { return cmp.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
			a.say(me+" asks", text(0), failure(err), answers)
		}()
	case "ask": // label, timeout in ms or 0, event, argument…: reports the answer under the label
		go func() {
			ctx := context.Background()
			if timeout := int(args[1].(float64)); timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, ms(timeout))
				defer cancel()
			}
			reply, err := s.EmitWithAck(ctx, text(2), args[3:]...)
			if err != nil {
				a.say(me+" asks", text(0), failure(err))
			} else {
				a.say(me+" asks", text(0), nil, first(reply))
			}
		}()
	case "join": // room…
		return s.Join(texts(0)...)
	case "leave": // room…
		s.Leave(texts(0)...)
	case "rooms": // reports the socket's rooms
		a.say(me, "rooms", others(s.Rooms(), s.ID()))
	case "sockets": // how: reports the chosen sockets
		return a.sockets(s, args[0])
	case "socketsJoin": // how, room…
		return a.chosen(s, args[0]).SocketsJoin(s.Context(), texts(1)...)
	case "socketsLeave": // how, room…
		return a.chosen(s, args[0]).SocketsLeave(s.Context(), texts(1)...)
	case "disconnectSockets": // how, whether to close the connections
		return a.chosen(s, args[0]).DisconnectSockets(context.Background(), args[1].(bool))
	case "disconnect": // whether to close the connection
		s.Disconnect(args[0].(bool))
	case "close": // closes the connection without a disconnect packet
		s.CloseConnection()
	case "say": // value…: reports them
		a.say(append([]any{me, "says"}, args...)...)
	case "connected": // reports whether the socket is connected
		a.say(me, "connected", s.Connected())
	case "setData": // value
		s.SetData(args[0])
	case "getData": // reports the data
		a.say(me, "data", s.Data())
	case "handshake": // reports the handshake
		a.handshake(s)
	case "wait": // gate: waits until a step opens it
		<-a.gate(text(0), false)
	case "open": // gate
		a.gate(text(0), true)
	case "fail": // message, data: middleware fails with this error
		refusal := &parley.ConnectError{Message: text(0)}
		if len(args) > 1 {
			refusal.Data = args[1]
		}
		return refusal
	case "ack": // argument…
		return p.Ack(args...)
	case "guard": // event: refuses it
		s.UseEvent(func(p *parley.Packet) error {
			if p.Name() == text(0) {
				return errGuarded
			}
			return nil
		})
	case "catchAny": // reports incoming events
		s.OnAny(func(p *parley.Packet) error { a.say(me, "any", p.Name()); return nil })
	case "catchOutgoing": // reports outgoing events
		s.OnAnyOutgoing(func(event string, args []json.RawMessage) { a.say(me, "outgoing", event, len(args)) })
	case "part": // room, event: sends it to the room once the socket has disconnected
		s.OnDisconnect(func(*parley.Socket, parley.Reason) { s.Namespace().To(text(0)).Emit(text(1), me) })
	case "stopServer":
		go a.srv.Shutdown(context.Background())
	default:
		panic("no such step: " + step)
	}
	return nil
}

func (a *app) sockets(s *parley.Socket, described any) error {
	infos, err := a.chosen(s, described).FetchSockets(context.Background())
	if err != nil {
		return err
	}
	type info struct {
		As    string   `json:"as"`
		Rooms []string `json:"rooms"`
		Data  any      `json:"data"`
	}
	found := []info{}
	for _, i := range infos {
		found = append(found, info{name(i.Handshake, i.ID), others(i.Rooms, i.ID), i.Data})
	}
	slices.SortFunc(found, func(x, y info) int { return cmp.Compare(x.As, y.As) })
	a.say(nameOf(s), "sockets", found)
	return nil
}

func (a *app) handshake(s *parley.Socket) {
	h := s.Handshake()
	query := map[string]string{}
	for key, values := range h.Query {
		query[key] = values[len(values)-1]
	}
	auth := h.Auth
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	var header any
	if values := h.Headers["X-Twin"]; len(values) > 0 {
		header = values[0]
	}
	a.say(nameOf(s), "handshake", map[string]any{
		"query": query, "auth": auth, "url": h.URL, "secure": h.Secure, "xdomain": h.CrossOrigin, "header": header,
	})
}

// plain returns v with binary data in the form that JSON.stringify gives it.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = plain(v[i])
		}
		return all
	case map[string]any:
		all := map[string]any{}
		for key := range v {
			all[key] = plain(v[key])
		}
		return all
	case []byte:
		return buffer(v)
	case parley.Binary:
		return buffer(v)
	}
	return v
}

func buffer(b []byte) any {
	data := make([]int, len(b))
	for i := range b {
		data[i] = int(b[i])
	}
	return map[string]any{"type": "Buffer", "data": data}
}

// first returns the first argument of a reply, or nil.
func first(r parley.Reply) any {
	values, err := r.Values()
	if err != nil || len(values) == 0 {
		return nil
	}
	return values[0]
}

// failure says why no answer came, in the words that both applications use.
func failure(err error) any {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, parley.ErrTimeout):
		return "timed out"
	}
	return "disconnected"
}
