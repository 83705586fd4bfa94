package parley

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/engine"
)

// revision is a revision of the Socket.IO protocol. Clients of Socket.IO 3 and 4 speak
// revision 5, over revision 4 of Engine.IO; those of Socket.IO 2 speak revision 4, over
// revision 3. Events and acknowledgements are the same. Joining is not:
//
//	                 revision 5                            revision 4
//	main namespace   →  40{auth}      ←  40{"sid":…}                            ←  40
//	another one      →  40/adm,{auth} ←  40/adm,{"sid":…}  →  40/adm?token=abc  ←  40/adm,
//	refused          ←  44/adm,{"message":…,"data":…}      ←  44/adm,<data, or message if none>
//
// A client of revision 4 is in the main namespace without having asked; what it
// authenticates with elsewhere is in the namespace's query; and it knows its sockets' ids
// by itself. It does not know connection state recovery.
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

// joinsUnasked reports whether a client is in the main namespace from the beginning.
func (r revision) joinsUnasked() bool { return r == revision4 }

// recovers reports whether clients can come back to their sockets.
func (r revision) recovers() bool { return r == revision5 }

// namespace returns the namespace that a packet is for, and what a client that joins it
// authenticates with.
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

// queryObject makes a JSON object of a query, nil of an empty one. Of parameters that occur
// more than once the last counts.
func queryObject(query string) []byte {
	if query == "" {
		return nil
	}
	values, _ := url.ParseQuery(query) // what is well-formed of it
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
		return engine.NewID() // the session's is a secret
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

// errInvalidNamespace refuses a client that asks for a namespace that there is not.
var errInvalidNamespace = &ConnectError{Message: "Invalid namespace"}

// refusal returns the data of the packet that refuses a client.
func (r revision) refusal(err error) []byte {
	both := connectErrorData(err)
	if r == revision5 || err == error(errInvalidNamespace) {
		return both
	}
	var e struct{ Message, Data json.RawMessage }
	_ = json.Unmarshal(both, &e) // it is ours
	// Data that is false to JavaScript gives way to the message; so do numbers, which would
	// be read as an id.
	if d := string(e.Data); strings.HasPrefix(d, "{") || strings.HasPrefix(d, "[") || strings.HasPrefix(d, `"`) && d != `""` || d == "true" {
		return e.Data
	}
	return e.Message
}
