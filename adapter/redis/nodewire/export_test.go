package nodewire

import "github.com/parley-go/parley/adapter"

// Decoder receives broadcasts without Redis, and makes those of another server.
func Decoder(local adapter.Local, isSharded bool) (hear func(channel string, data []byte), encode func(*adapter.Message) ([]byte, error)) {
	const own, others = "fedcba9876543210", "0123456789abcdef"
	l := &link{calls: map[string]*call{}, cluster: &Cluster{}, namespace: "/", local: local}
	if isSharded {
		hear, l.format = (&shardedLink{l, newSharded("socket.io", own, "/", Dynamic)}).hear, newSharded("socket.io", others, "/", Dynamic)
	} else {
		hear, l.format = (&classicLink{l, newClassic("socket.io", own, "/")}).hear, newClassic("socket.io", others, "/")
	}
	return hear, func(m *adapter.Message) ([]byte, error) {
		_, data, err := l.format.encode(m, "", false)
		return data, err
	}
}

const Recount = recount
