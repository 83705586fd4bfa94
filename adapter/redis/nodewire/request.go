package nodewire

import (
	"bytes"
	"encoding/json"
	"strconv"

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
		dst = append(dst, `,"flags":{`...)
		if m.Flags&adapter.Volatile != 0 {
			dst = append(dst, `"volatile":true`...)
		}
		if m.Flags&adapter.Uncompressed != 0 {
			if m.Flags&adapter.Volatile != 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `"compress":false`...)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// appendPacket appends an event as JSON.
func (l *link) appendPacket(dst []byte, m *adapter.Message) []byte {
	dst = append(dst, `{"type":2,"data":`...)
	dst = append(dst, m.Data...)
	dst = append(dst, `,"nsp":`...)
	return append(sio.AppendString(dst, l.namespace), '}')
}

// encodeRequest returns a request as it is published. id is empty if nobody shall answer.
func (l *link) encodeRequest(m *adapter.Message, id string) ([]byte, error) {
	b := append(make([]byte, 0, 128+len(m.Data)), `{"uid":`...)
	b = sio.AppendString(b, l.cluster.uid)
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
		b = l.appendPacket(append(b, `,"packet":`...), m)
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
func (l *link) requested(data []byte) {
	var r request
	attachments, ok := parse(data, &r)
	if !ok || r.Type == nil || r.UID == l.cluster.uid || r.RequestID != nil && l.calling(*r.RequestID) != nil {
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
func (l *link) rooms() []string {
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

func (l *link) serverEvent(r *request, m *adapter.Message) {
	if len(r.Data) == 0 || r.Data[0] != '[' {
		return
	}
	m.Kind, m.Data = adapter.ServerEvent, r.Data
	if r.RequestID != nil {
		m.Request = 1
	}
	l.local.Event(m, func(data []byte, attachments [][]byte) {
		l.answer(r, map[string]any{"type": serverSideEmit, "data": json.RawMessage(first(asBuffers(data, attachments)))})
	})
}

// first returns the first element of an array, or null. Only one argument crosses.
func first(array []byte) []byte {
	if all := sio.SplitArgs(nil, array); len(all) > 0 {
		return all[0]
	}
	return []byte("null")
}

func (l *link) broadcastWithAck(r *request, m *adapter.Message) {
	m.Kind, m.Request, m.Timeout = adapter.Broadcast, 1, maxAckTime
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
		b = append(append(append(b, `,"packet":`...), first(data)...), '}')
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

// answer publishes an answer.
func (l *link) answer(r *request, content map[string]any) {
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
func (l *link) answerChannel(r *request) string {
	if l.cluster.opts.SpecificResponses && r.UID != "" && *r.Type != serverSideEmit {
		return l.response + r.UID + "#"
	}
	return l.response
}

func (l *link) calling(id string) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[id]
}

// answered receives an answer.
func (l *link) answered(data []byte) {
	var a struct {
		RequestID   string               `json:"requestId"`
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
			w.add(nil, true, a.ClientCount)
		case broadcastAck:
			w.add(&adapter.Answer{Kind: adapter.ClientAnswer, Data: wrap(a.Packet), Attachments: attachments}, false, -1)
		}
	case adapter.ServerEvent:
		w.add(&adapter.Answer{Kind: adapter.ServerAnswer, Data: wrap(a.Data), Attachments: attachments}, true, 0)
	case adapter.Fetch:
		w.add(&adapter.Answer{Kind: adapter.Sockets, Sockets: a.Sockets}, true, 0)
	default: // Count and RoomSizes are counted here
		sum := &adapter.Answer{Kind: adapter.Done, Count: len(a.Sockets), Rooms: map[string]int{}}
		for _, s := range a.Sockets {
			for _, room := range s.Rooms {
				if room != s.ID {
					sum.Rooms[room]++
				}
			}
		}
		w.add(sum, true, 0)
	}
}

// wrap makes an array of an argument; of no argument, an empty one.
func wrap(argument json.RawMessage) []byte {
	if len(argument) == 0 {
		return []byte("[]")
	}
	return append(append([]byte{'['}, argument...), ']')
}
