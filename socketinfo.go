package parley

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
)

// SocketInfo describes a connected socket. In a cluster it may be connected to another server.
type SocketInfo struct {
	ID        string
	Node      string // the name of the other server; empty for a socket of this one
	Handshake Handshake
	Rooms     []string
	Data      any            // of another server's socket, a json.RawMessage
	Identity  *auth.Identity // who the client is; nil without Options.Authorize

	stored any
}

// Value returns the value of a Key. It works for sockets of this server only.
func (i SocketInfo) Value(key any) any {
	if key == (identityKey{}) {
		return i.Identity
	}
	d, _ := i.stored.(*keyed)
	v, _ := d.value(key)
	return v
}

// info describes the socket.
func (s *Socket) info() SocketInfo {
	stored := s.stored()
	return SocketInfo{
		ID: s.ID(), Handshake: s.Handshake(), Rooms: s.Rooms(), Data: dataOf(stored), Identity: s.Identity(), stored: stored,
	}
}

// abroadHandshake is a handshake in the format of Socket.IO's adapters.
type abroadHandshake struct {
	Headers map[string]string `json:"headers"` // names in lower case
	Time    string            `json:"time"`    // as JavaScript's Date.toString
	Address string            `json:"address"` // without port
	XDomain bool              `json:"xdomain"`
	Secure  bool              `json:"secure"`
	Issued  int64             `json:"issued"` // in ms since 1970
	URL     string            `json:"url"`
	Query   map[string]string `json:"query"`
	Auth    json.RawMessage   `json:"auth"`
}

// dateLayout is what JavaScript's Date.toString returns in UTC.
const dateLayout = "Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)"

// abroad returns i as other servers receive it.
func (i SocketInfo) abroad() adapter.SocketInfo {
	h := abroadHandshake{
		Headers: make(map[string]string, len(i.Handshake.Headers)), Query: make(map[string]string, len(i.Handshake.Query)),
		Time: i.Handshake.Time.UTC().Format(dateLayout), Issued: i.Handshake.Time.UnixMilli(), Address: i.Handshake.Address,
		XDomain: i.Handshake.CrossOrigin, Secure: i.Handshake.Secure, URL: i.Handshake.URL, Auth: i.Handshake.Auth,
	}
	for name, values := range i.Handshake.Headers {
		h.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	for name, values := range i.Handshake.Query {
		h.Query[name] = values[len(values)-1]
	}
	if host, _, err := net.SplitHostPort(h.Address); err == nil {
		h.Address = host
	}
	if h.Auth == nil {
		h.Auth = json.RawMessage("{}")
	}
	a := adapter.SocketInfo{ID: i.ID, Rooms: i.Rooms, Handshake: marshal(h), Data: marshal(i.Data)}
	if string(a.Data) == "null" { // programs on Node.js rely on an object
		a.Data = json.RawMessage("{}")
	}
	if i.Identity != nil {
		a.Identity = marshal(i.Identity)
	}
	return a
}

// marshal encodes v, or null if that is impossible.
func marshal(v any) (b json.RawMessage) {
	if guard(func() (err error) { b, err = json.Marshal(v); return }) != nil {
		return json.RawMessage("null")
	}
	return b
}

// fromAbroad returns what another server says about its socket. What it does not say stays empty.
func fromAbroad(node string, a adapter.SocketInfo) SocketInfo {
	i := SocketInfo{ID: a.ID, Node: node, Rooms: a.Rooms, Data: a.Data}
	var h abroadHandshake
	_ = json.Unmarshal(a.Handshake, &h)
	i.Handshake = Handshake{
		Headers: make(http.Header, len(h.Headers)), Query: make(url.Values, len(h.Query)),
		URL: h.URL, Address: h.Address, Time: time.UnixMilli(h.Issued), Secure: h.Secure, CrossOrigin: h.XDomain,
	}
	for name, value := range h.Headers {
		i.Handshake.Headers.Set(name, value)
	}
	for name, value := range h.Query {
		i.Handshake.Query.Set(name, value)
	}
	if !bytes.Equal(h.Auth, []byte("{}")) {
		i.Handshake.Auth = h.Auth
	}
	if len(a.Identity) > 0 {
		i.Identity = new(auth.Identity)
		if json.Unmarshal(a.Identity, i.Identity) != nil {
			i.Identity = nil
		}
	}
	return i
}
