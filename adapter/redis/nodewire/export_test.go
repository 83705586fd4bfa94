package nodewire

import "github.com/parley-go/parley/adapter"

// Decoder receives broadcasts without Redis.
func Decoder(local adapter.Local) (hear func(channel string, data []byte), encode func(*adapter.Message) ([]byte, error)) {
	c := &Cluster{uid: "0123456789abcdef", links: map[string]*link{}}
	l := &link{calls: map[string]*call{}, cluster: c, namespace: "/", local: local, broadcast: "socket.io#/#", echo: appendEcho(nil, "fedcba9876543210")}
	other := &link{cluster: c, namespace: "/"}
	other.echo = appendEcho(nil, "0123456789abcdef")
	return l.hear, other.encodeBroadcast
}
