//go:build !linux

package reactor

import "net"

// watcher is empty on platforms whose readiness interface we do not use. Every connection has a
// goroutine there.
type watcher struct{}

func (*watcher) init(int) {}
func (*watcher) close()   {}

func (*watcher) reserve(net.Conn) (adopted, error) { return adopted{}, nil }

// adopted is empty, too.
type adopted struct{}

func (adopted) add(int, []byte, Handler, func(Conn)) bool { return false }
func (adopted) release()                                  {}

// watchable returns nc, since only Linux can watch connections.
func watchable(nc net.Conn) net.Conn { return nc }
