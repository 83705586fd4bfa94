package parley

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/engine"
)

// revision is a revision of the Socket.IO protocol. Clients of Socket.IO 3 and 4 speak revision 5,
// over revision 4 of Engine.IO. Clients of Socket.IO 2 speak revision 4, over revision 3 of
// Engine.IO. Events and acknowledgements are the same in both. Joining is different:
//
//	                 revision 5                            revision 4
//	main namespace   →  40{auth}      ←  40{"sid":…}                            ←  40
//	another one      →  40/adm,{auth} ←  40/adm,{"sid":…}  →  40/adm?token=abc  ←  40/adm,
//	refused          ←  44/adm,{"message":…,"data":…}      ←  44/adm,<data, or message if none>
//
// A client of revision 4 is in the main namespace without asking. For other namespaces, it sends
// its auth data in the query of the namespace's name. It derives the ids of its sockets itself. It
// does not support connection state recovery.
type revision uint8

const (
	revision4 revision = 4
	revision5 revision = 5
)

func (c *connection) revision() revision {
	if c.session.Protocol() == eio.V3 {
		return revision4
	}
	return revision5
}

// joinsUnasked reports whether a client joins the main namespace without asking.
func (r revision) joinsUnasked() bool { return r == revision4 }

// recovers reports whether clients can come back to their sockets.
func (r revision) recovers() bool { return r == revision5 }

// namespace returns the namespace of a packet, and the auth data of the client that joins it.
func (r revision) namespace(name string, data []byte) (namespace string, auth []byte) {
	if r == revision5 {
		return name, data
	}
	namespace, query, _ := strings.Cut(name, "?")
	if namespace == "" {
		namespace = "/"
	}
	return namespace, queryObject(query)
}

// queryObject converts a query to a JSON object; an empty query becomes nil. If a parameter occurs
// more than once, the last one counts.
func queryObject(query string) []byte {
	if query == "" {
		return nil
	}
	values, _ := url.ParseQuery(query) // malformed parts are ignored
	object := make(map[string]string, len(values))
	for name, v := range values {
		object[name] = v[len(v)-1]
	}
	b, _ := json.Marshal(object) // cannot fail
	return b
}

// socketID returns the id of a new socket of a session.
func (r revision) socketID(n *Namespace, session *engine.Session) string {
	switch {
	case r == revision5:
		return engine.NewID() + n.srv.idSuffix // the session's id is a secret
	case n.name == "/":
		return session.ID()
	}
	return n.name + "#" + session.ID()
}

// answer returns the data of the answer to CONNECT.
func (r revision) answer(s *Socket) []byte {
	if r == revision4 {
		return nil
	}
	answer := append(make([]byte, 0, 64), `{"sid":"`...)
	answer = append(answer, s.ID()...)
	if s.comeback != nil {
		answer = append(answer, `","pid":"`...)
		answer = append(answer, s.comeback.pid...)
	}
	return append(answer, `"}`...)
}

// errInvalidNamespace refuses a client that asks for a namespace that does not exist.
var errInvalidNamespace = &ConnectError{Message: "Invalid namespace"}

// refusal returns the data of the packet that refuses a client.
func (r revision) refusal(err error) []byte {
	both := connectErrorData(err)
	if r == revision5 || err == error(errInvalidNamespace) {
		return both
	}
	var e struct{ Message, Data json.RawMessage }
	_ = json.Unmarshal(both, &e) // we encoded it ourselves
	// If JavaScript would treat the data as false, send the message instead. The same goes for
	// numbers, which clients would read as an id.
	if d := string(e.Data); strings.HasPrefix(d, "{") || strings.HasPrefix(d, "[") || strings.HasPrefix(d, `"`) && d != `""` || d == "true" {
		return e.Data
	}
	return e.Message
}
