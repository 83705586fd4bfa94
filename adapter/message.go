package adapter

import (
	"encoding/hex"
	"encoding/json"
	"time"
)

// NodeID identifies one run of a server. A server that restarts has a new one.
type NodeID [8]byte

// String returns the id as 16 hexadecimal digits.
func (id NodeID) String() string { return hex.EncodeToString(id[:]) }

// Kind says what a Message is. Up to 13 the numbers are those of Socket.IO's cluster adapter
// (https://github.com/socketio/socket.io/blob/main/packages/socket.io-adapter/lib/cluster-adapter.ts).
type Kind uint8

const (
	Broadcast     Kind = 3  // an event for sockets; with Request, each acknowledges it
	Join          Kind = 4  // sockets join Targets
	Leave         Kind = 5  // sockets leave Targets
	Disconnect    Kind = 6  // sockets are disconnected
	Fetch         Kind = 7  // describes sockets
	Sockets       Kind = 8  // answers Fetch
	ServerEvent   Kind = 9  // an event for servers
	ServerAnswer  Kind = 10 // answers ServerEvent
	ClientCount   Kind = 11 // answers Broadcast: how many acknowledgements follow
	ClientAnswer  Kind = 12 // answers Broadcast: one acknowledgement
	Count         Kind = 32 // counts sockets
	RoomSizes     Kind = 33 // lists rooms, with the number of sockets in each
	Done          Kind = 34 // answers Join, Leave, Disconnect, Count and RoomSizes
	firstInternal Kind = 48 // what only Native sends: hello, beat, bye, refuse
)

// Flags are options of a Message.
type Flags uint8

const (
	Volatile     Flags = 1 << iota // for sockets that can receive it at once
	Uncompressed                   // not to be compressed
	CloseAll                       // Disconnect: closes the connection, and not only the namespace
	None                           // an answer without content: the client is gone, or there is no handler
	More                           // further answers follow from the same node
)

// Selection says which sockets of a namespace are meant: those in any of Rooms, or all if Rooms is
// empty, except those in any of Except.
type Selection struct {
	Rooms, Except []string
}

// Message is what servers send to each other. Whoever receives one must not change it, and may keep
// it.
type Message struct {
	Kind      Kind
	Flags     Flags
	Node      NodeID // who sent it; set by the Link
	Number    uint64 // the sender's count of messages: with Node, it identifies the message
	Namespace string // including the slash
	Request   uint64 // not 0: the sender awaits answers
	Timeout   time.Duration
	Selection
	Targets     []string // the rooms of Join and Leave
	Data        []byte   // a JSON array: an event with its arguments, or an acknowledgement's arguments
	Attachments [][]byte // what the placeholders in Data stand for
}

// Reserved reports whether servers must not send each other an event with this name: on Node.js, it would call
// handlers of other things.
func Reserved(event string) bool {
	return event == "connect" || event == "connection" || event == "new_namespace"
}

// Answer is one answer to a Call.
type Answer struct {
	Node        NodeID // zero if the wire does not say
	Name        string // of the server; empty if the wire does not say
	Kind        Kind   // ClientAnswer, Sockets, ServerAnswer or Done
	Count       int    // of Count
	Data        []byte // of ClientAnswer and ServerAnswer: a JSON array
	Attachments [][]byte
	Sockets     []SocketInfo   // of Fetch
	Rooms       map[string]int // of RoomSizes
	Refused     int            // of Join: sockets that would have been in too many rooms
	more        bool           // the server's next answer continues this one
}

// SocketInfo describes a socket to other servers, in the format of Socket.IO's adapters.
type SocketInfo struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"`
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
	Identity  json.RawMessage `json:"identity,omitempty"` // of Parley only
}

// Node describes a server of the cluster.
type Node struct {
	ID       NodeID `json:"-"`
	Name     string `json:"name"`              // unique in the cluster
	Tag      string `json:"tag"`               // the end of the ids of its sockets
	Address  string `json:"address,omitempty"` // where other servers reach it: host:port
	Draining bool   `json:"draining,omitempty"`
	Sockets  int    `json:"sockets"` // how many it has, in all namespaces
}
