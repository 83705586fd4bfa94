package nodewire

import (
	"cmp"
	"encoding/json"
	"strconv"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/jsonscan"
	"github.com/parley-go/parley/internal/sio"
)

// envelope is a cluster message: {type, data, uid, nsp}. Which members data has depends on the type. All are
// raw JSON, with placeholders for the attachments.
type envelope struct {
	kind     int
	uid, nsp []byte // texts

	opts      []byte
	rooms     []byte
	close     bool
	requestID []byte // nil: nobody awaits an answer
	packet    []byte
	sockets   []byte
	count     int

	event     []byte // of packet, if it is an object
	eventType int
	eventID   bool // a server sends it to one of its own sockets, and awaits an acknowledgement

	attachments [][]byte
}

// maxDepth is how deep messages may nest: as deep as encoding/json reads.
const maxDepth = 10_000

// readEnvelope reads JSON, or MessagePack.
func readEnvelope(data []byte) (e envelope, ok bool) {
	if len(data) > 0 && data[0] != '{' {
		var err error
		if data, e.attachments, err = sio.FromMsgpack(data, limits); err != nil {
			return e, false
		}
	} else if jsonscan.Check(data, maxDepth) != nil {
		return e, false
	}
	sio.Members(data, func(name, value []byte) {
		switch string(name) {
		case "type":
			e.kind, _ = strconv.Atoi(string(value))
		case "uid":
			e.uid = sio.Text(value)
		case "nsp":
			e.nsp = sio.Text(value)
		case "data":
			sio.Members(value, e.member)
		}
	})
	return e, e.kind >= 0 && e.kind < 256
}

// member reads a member of data.
func (e *envelope) member(name, value []byte) {
	switch string(name) {
	case "opts":
		e.opts = value
	case "rooms":
		e.rooms = value
	case "close":
		e.close = string(value) == "true"
	case "requestId":
		e.requestID = sio.Text(value)
	case "sockets":
		e.sockets = value
	case "clientCount":
		e.count, _ = strconv.Atoi(string(value))
	case "packet":
		e.packet = value
		sio.Members(value, func(name, value []byte) {
			switch string(name) {
			case "type":
				e.eventType, _ = strconv.Atoi(string(value))
			case "data":
				e.event = value
			case "id":
				e.eventID = true
			}
		})
	}
}

// respond publishes an answer to a request: data with the members that begin with a comma.
func (l *shardedLink) respond(e *envelope, k adapter.Kind, members []byte, attachments [][]byte) {
	b := append(make([]byte, 0, 128+len(members)), l.echoes[0]...)
	b = sio.AppendString(append(b, `"nsp":`...), l.nsp)
	b = strconv.AppendUint(append(b, `,"type":`...), uint64(k), 10)
	b = sio.AppendString(append(b, `,"data":{"requestId":`...), e.requestID)
	b = append(append(b, members...), "}}"...)
	data, err := pack(b, used(b, attachments))
	if err == nil {
		err = l.cluster.conn.Publish(l.own(string(e.uid)), data)
	}
	if err != nil {
		l.cluster.opts.Logger.Error("cannot answer another server", "error", err)
	}
}

func (l *shardedLink) deliverAck(e *envelope, m *adapter.Message) {
	m.Request, m.Timeout = 1, cmp.Or(m.Timeout, maxAckTime)
	l.local.DeliverAck(m, func(n int) {
		l.respond(e, adapter.ClientCount, strconv.AppendInt([]byte(`,"clientCount":`), int64(n), 10), nil)
	}, func(data []byte, attachments [][]byte) {
		if data != nil { // the wire has no word for a client that is gone
			l.respond(e, adapter.ClientAnswer, appendFirst(nil, `,"packet":`, data), attachments)
		}
	})
}

func (l *shardedLink) fetched(e *envelope, sockets []adapter.SocketInfo) {
	if sockets == nil {
		sockets = []adapter.SocketInfo{}
	}
	data, err := json.Marshal(sockets)
	if err != nil {
		l.cluster.opts.Logger.Error("cannot answer another server", "error", err)
		data = []byte("[]")
	}
	l.respond(e, adapter.Sockets, append([]byte(`,"sockets":`), data...), nil)
}

func (l *shardedLink) serverEvent(e *envelope, m *adapter.Message) {
	if len(e.packet) == 0 || e.packet[0] != '[' {
		return
	}
	m.Data, m.Attachments = e.packet, e.attachments
	if e.requestID != nil {
		m.Request = 1
	}
	l.local.Event(m, func(data []byte, attachments [][]byte) {
		l.respond(e, adapter.ServerAnswer, appendFirst(nil, `,"packet":`, data), attachments)
	})
}

// answered receives an answer.
func (l *shardedLink) answered(e *envelope) {
	w := l.calling(string(e.requestID))
	if w == nil {
		return
	}
	uid := string(e.uid)
	switch k := adapter.Kind(e.kind); {
	case k == adapter.ClientCount && w.kind == adapter.Broadcast:
		w.add(uid, nil, true, e.count)
	case k == adapter.ClientAnswer && w.kind == adapter.Broadcast:
		w.add(uid, &adapter.Answer{Kind: k, Data: wrap(e.packet), Attachments: e.attachments}, false, -1)
	case k == adapter.ServerAnswer && w.kind == adapter.ServerEvent:
		w.add(uid, &adapter.Answer{Kind: k, Data: wrap(e.packet), Attachments: e.attachments}, true, 0)
	case k == adapter.Sockets:
		var sockets []adapter.SocketInfo
		if json.Unmarshal(asBuffers(e.sockets, e.attachments), &sockets) != nil {
			return
		}
		if w.kind == adapter.Fetch {
			w.add(uid, &adapter.Answer{Kind: k, Sockets: sockets}, true, 0)
		} else {
			w.add(uid, sum(sockets), true, 0)
		}
	}
}
