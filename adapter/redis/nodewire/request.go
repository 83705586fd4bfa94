package nodewire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/sio"
)

// Types of requests.
const (
	socketsRequest   = 0
	allRooms         = 1
	remoteJoin       = 2
	remoteLeave      = 3
	remoteDisconnect = 4
	remoteFetch      = 5
	serverSideEmit   = 6
	broadcastRequest = 7
	clientCount      = 8
	broadcastAck     = 9
)

// limits are those of what other servers send: they are trusted, but not lengths.
var limits = &sio.Limits{MaxAttachments: -1, MaxAttachmentBytes: -1, MaxDepth: -1}

// appendStrings appends a JSON array.
func appendStrings(dst []byte, all []string) []byte {
	dst = append(dst, '[')
	for i, s := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = sio.AppendString(dst, s)
	}
	return append(dst, ']')
}

// appendOptions appends the options of a message as JSON. Requests that change sockets have no flags.
func appendOptions(dst []byte, m *adapter.Message, flags bool) []byte {
	dst = append(dst, `{"rooms":`...)
	dst = appendStrings(dst, m.Rooms)
	dst = append(dst, `,"except":`...)
	dst = appendStrings(dst, m.Except)
	if flags {
		dst = appendFlags(append(dst, `,"flags":`...), m)
	}
	return append(dst, '}')
}

// appendFlags appends the flags of an event as JSON.
func appendFlags(dst []byte, m *adapter.Message) []byte {
	dst = append(dst, '{')
	if m.Flags&adapter.Volatile != 0 {
		dst = append(dst, `"volatile":true,`...)
	}
	if m.Flags&adapter.Uncompressed != 0 {
		dst = append(dst, `"compress":false,`...)
	}
	if m.Timeout > 0 {
		dst = append(strconv.AppendInt(append(dst, `"timeout":`...), m.Timeout.Milliseconds(), 10), ',')
	}
	return append(bytes.TrimSuffix(dst, []byte{','}), '}')
}

// appendPacket appends an event as JSON.
func (f *classic) appendPacket(dst []byte, m *adapter.Message) []byte {
	dst = append(dst, `{"type":2,"data":`...)
	dst = append(dst, m.Data...)
	dst = append(dst, `,"nsp":`...)
	return append(sio.AppendString(dst, f.nsp), '}')
}

// encodeRequest returns a request as it is published. id is empty if nobody shall answer.
func (f *classic) encodeRequest(m *adapter.Message, id string) ([]byte, error) {
	b := append(make([]byte, 0, 128+len(m.Data)), `{"uid":`...)
	b = sio.AppendString(b, f.uid)
	if id != "" {
		b = sio.AppendString(append(b, `,"requestId":`...), id)
	}
	t := map[adapter.Kind]int{
		adapter.Broadcast: broadcastRequest, adapter.Join: remoteJoin, adapter.Leave: remoteLeave, adapter.Disconnect: remoteDisconnect,
		adapter.Fetch: remoteFetch, adapter.Count: remoteFetch, adapter.RoomSizes: remoteFetch, adapter.ServerEvent: serverSideEmit,
	}[m.Kind]
	b = strconv.AppendInt(append(b, `,"type":`...), int64(t), 10)
	switch m.Kind {
	case adapter.Broadcast:
		b = f.appendPacket(append(b, `,"packet":`...), m)
		b = append(appendOptions(append(b, `,"opts":`...), m, true), '}')
		return sio.AppendMsgpack(make([]byte, 0, len(b)), b, m.Attachments)
	case adapter.ServerEvent:
		b = append(append(b, `,"data":`...), asBuffers(m.Data, m.Attachments)...)
	default:
		b = appendOptions(append(b, `,"opts":`...), m, false)
	}
	switch m.Kind {
	case adapter.Join, adapter.Leave:
		b = appendStrings(append(b, `,"rooms":`...), m.Targets)
	case adapter.Disconnect:
		b = strconv.AppendBool(append(b, `,"close":`...), m.Flags&adapter.CloseAll != 0)
	}
	return append(b, '}'), nil
}

// asBuffers replaces placeholders by what JSON.stringify makes of a Buffer.
func asBuffers(data []byte, attachments [][]byte) []byte {
	for i, a := range attachments {
		b := []byte(`{"type":"Buffer","data":[`)
		for j, c := range a {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(c), 10)
		}
		b = append(b, "]}"...)
		data = bytes.Replace(data, []byte(`{"_placeholder":true,"num":`+strconv.Itoa(i)+`}`), b, 1)
	}
	return data
}

// texts returns the elements of an array as texts. Rooms may be numbers in JavaScript.
func texts(array []byte) (all []string) {
	if len(array) == 0 || array[0] != '[' {
		return nil
	}
	for _, v := range sio.SplitArgs(nil, array) {
		all = append(all, string(sio.Text(v)))
	}
	return all
}

// options reads options into m.
func options(m *adapter.Message, object []byte) {
	sio.Members(object, func(name, value []byte) {
		switch string(name) {
		case "rooms":
			m.Rooms = texts(value)
		case "except":
			m.Except = texts(value)
		case "flags":
			sio.Members(value, func(name, value []byte) {
				switch {
				case string(name) == "volatile" && string(value) == "true":
					m.Flags |= adapter.Volatile
				case string(name) == "compress" && string(value) == "false":
					m.Flags |= adapter.Uncompressed
				case string(name) == "timeout":
					if ms, err := strconv.ParseFloat(string(value), 64); err == nil && ms > 0 && ms < maxAckMillis {
						m.Timeout = time.Duration(ms * float64(time.Millisecond))
					}
				}
			})
		}
	})
}

// request is what all requests have in common. Old ones lack opts, and name one socket.
type request struct {
	UID       string          `json:"uid"`
	RequestID *string         `json:"requestId"`
	Type      *int            `json:"type"`
	Opts      json.RawMessage `json:"opts"`
	Rooms     json.RawMessage `json:"rooms"`
	Room      json.RawMessage `json:"room"`
	SID       string          `json:"sid"`
	Close     bool            `json:"close"`
	Data      json.RawMessage `json:"data"`
	Packet    json.RawMessage `json:"packet"`
}

// parse reads JSON, or MessagePack.
func parse(data []byte, into any) (attachments [][]byte, ok bool) {
	if len(data) > 0 && data[0] != '{' {
		var err error
		if data, attachments, err = sio.FromMsgpack(data, limits); err != nil {
			return nil, false
		}
	}
	return attachments, json.Unmarshal(data, into) == nil
}

// requested receives a request.
func (l *classicLink) requested(data []byte) {
	var r request
	attachments, ok := parse(data, &r)
	if !ok || r.Type == nil || r.UID == l.uid || r.RequestID != nil && l.calling(*r.RequestID) != nil {
		return
	}
	m := &adapter.Message{Namespace: l.namespace, Attachments: attachments}
	options(m, r.Opts)
	switch *r.Type {
	case remoteJoin, remoteLeave, remoteDisconnect:
		m.Kind = map[int]adapter.Kind{remoteJoin: adapter.Join, remoteLeave: adapter.Leave, remoteDisconnect: adapter.Disconnect}[*r.Type]
		m.Targets = texts(r.Rooms)
		if r.Close {
			m.Flags |= adapter.CloseAll
		}
		if len(r.Opts) == 0 {
			if r.SID == "" || !l.local.Has(r.SID) {
				return
			}
			m.Rooms = []string{r.SID}
			if len(r.Room) > 0 {
				m.Targets = []string{string(sio.Text(r.Room))}
			}
			defer l.answer(&r, map[string]any{})
		}
		l.local.Change(m)
	case socketsRequest:
		ids := []string{}
		for _, s := range l.local.Fetch(adapter.Selection{Rooms: texts(r.Rooms)}) {
			ids = append(ids, s.ID)
		}
		l.answer(&r, map[string]any{"sockets": ids})
	case allRooms:
		l.answer(&r, map[string]any{"rooms": l.rooms()})
	case remoteFetch:
		sockets := l.local.Fetch(m.Selection)
		if sockets == nil {
			sockets = []adapter.SocketInfo{}
		}
		l.answer(&r, map[string]any{"sockets": sockets})
	case serverSideEmit:
		l.serverEvent(&r, m)
	case broadcastRequest:
		l.broadcastWithAck(&r, m)
	}
}

// rooms returns the names of all rooms, those of the sockets too.
func (l *classicLink) rooms() []string {
	known := map[string]bool{}
	names := []string{}
	for _, s := range l.local.Fetch(adapter.Selection{}) {
		for _, room := range s.Rooms {
			if !known[room] {
				known[room] = true
				names = append(names, room)
			}
		}
	}
	return names
}

func (l *classicLink) serverEvent(r *request, m *adapter.Message) {
	if len(r.Data) == 0 || r.Data[0] != '[' {
		return
	}
	m.Kind, m.Data = adapter.ServerEvent, r.Data
	if r.RequestID != nil {
		m.Request = 1
	}
	l.local.Event(m, func(data []byte, attachments [][]byte) {
		content := map[string]any{"type": serverSideEmit}
		if argument := first(asBuffers(data, attachments)); argument != nil {
			content["data"] = json.RawMessage(argument)
		}
		l.answer(r, content)
	})
}

// first returns the first element of an array, or nil. Only one argument crosses.
func first(array []byte) []byte {
	if all := sio.SplitArgs(nil, array); len(all) > 0 {
		return all[0]
	}
	return nil
}

// appendFirst appends a member with the first element of an array, if it has one.
func appendFirst(dst []byte, name string, array []byte) []byte {
	if argument := first(array); argument != nil {
		dst = append(append(dst, name...), argument...)
	}
	return dst
}

func (l *classicLink) broadcastWithAck(r *request, m *adapter.Message) {
	m.Kind, m.Request, m.Timeout = adapter.Broadcast, 1, cmp.Or(m.Timeout, maxAckTime)
	p := struct {
		Type int              `json:"type"`
		ID   *json.RawMessage `json:"id"`
		Nsp  string           `json:"nsp"`
		Data json.RawMessage  `json:"data"`
	}{Nsp: "/"}
	if json.Unmarshal(r.Packet, &p) != nil || !l.accepts(&packet{kind: p.Type, hasID: p.ID != nil, namespace: []byte(p.Nsp), data: p.Data}) {
		return
	}
	if m.Data = p.Data; r.RequestID == nil {
		return
	}
	l.local.DeliverAck(m, func(n int) {
		l.answer(r, map[string]any{"type": clientCount, "clientCount": n})
	}, func(data []byte, attachments [][]byte) {
		if data == nil {
			return // the wire has no word for a client that is gone
		}
		// What is left out of the arguments may have attachments, so they are converted one by one.
		b := sio.AppendString([]byte(`{"type":9,"requestId":`), *r.RequestID)
		b = sio.AppendString(append(b, `,"uid":`...), l.uid)
		b = append(appendFirst(b, `,"packet":`, data), '}')
		if packed, err := sio.AppendMsgpack(nil, b, used(b, attachments)); err == nil {
			_ = l.cluster.conn.Publish(l.answerChannel(r), packed)
		}
	})
}

// used returns the attachments that JSON refers to, if these are the first ones.
func used(data []byte, attachments [][]byte) [][]byte {
	n := 0
	for n < len(attachments) && bytes.Contains(data, []byte(`{"_placeholder":true,"num":`+strconv.Itoa(n)+`}`)) {
		n++
	}
	return attachments[:n]
}

// answer publishes an answer. Servers on Node.js do not say who they are; Parley's do.
func (l *classicLink) answer(r *request, content map[string]any) {
	content["uid"] = l.uid
	if r.RequestID != nil {
		content["requestId"] = *r.RequestID
	}
	data, err := json.Marshal(content)
	if err != nil {
		l.cluster.opts.Logger.Error("cannot answer another server", "error", err)
		return
	}
	_ = l.cluster.conn.Publish(l.answerChannel(r), data)
}

// answerChannel returns the channel for answers. For events between servers it is always the common one.
func (l *classicLink) answerChannel(r *request) string {
	if l.cluster.opts.SpecificResponses && r.UID != "" && *r.Type != serverSideEmit {
		return l.response + r.UID + "#"
	}
	return l.response
}

// answered receives an answer.
func (l *classicLink) answered(data []byte) {
	var a struct {
		RequestID   string               `json:"requestId"`
		UID         string               `json:"uid"`
		Type        int                  `json:"type"`
		ClientCount int                  `json:"clientCount"`
		Packet      json.RawMessage      `json:"packet"`
		Sockets     []adapter.SocketInfo `json:"sockets"`
		Data        json.RawMessage      `json:"data"`
	}
	attachments, ok := parse(data, &a)
	if !ok {
		return
	}
	w := l.calling(a.RequestID)
	if w == nil {
		return
	}
	switch w.kind {
	case adapter.Broadcast:
		switch a.Type {
		case clientCount:
			w.add(a.UID, nil, true, a.ClientCount)
		case broadcastAck:
			w.add(a.UID, &adapter.Answer{Kind: adapter.ClientAnswer, Data: wrap(a.Packet), Attachments: attachments}, false, -1)
		}
	case adapter.ServerEvent:
		w.add(a.UID, &adapter.Answer{Kind: adapter.ServerAnswer, Data: wrap(a.Data), Attachments: attachments}, true, 0)
	case adapter.Fetch:
		w.add(a.UID, &adapter.Answer{Kind: adapter.Sockets, Sockets: a.Sockets}, true, 0)
	default:
		w.add(a.UID, sum(a.Sockets), true, 0)
	}
}

// sum answers Count and RoomSizes, which the wires do not have, from descriptions of sockets.
func sum(sockets []adapter.SocketInfo) *adapter.Answer {
	a := &adapter.Answer{Kind: adapter.Done, Count: len(sockets), Rooms: map[string]int{}}
	for _, s := range sockets {
		for _, room := range s.Rooms {
			if room != s.ID {
				a.Rooms[room]++
			}
		}
	}
	return a
}

// wrap makes an array of an argument; of no argument, an empty one.
func wrap(argument json.RawMessage) []byte {
	if len(argument) == 0 {
		return []byte("[]")
	}
	return append(append([]byte{'['}, argument...), ']')
}
