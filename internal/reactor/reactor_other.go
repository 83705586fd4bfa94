//go:build !linux

package reactor

import "net"

// watcher is empty where the platform's readiness interface is not used: every
// connection has a goroutine.
type watcher struct{}

func (*watcher) init(int) {}
func (*watcher) close()   {}

func (*watcher) reserve(net.Conn) (adopted, error) { return adopted{}, nil }

// adopted is empty, too.
type adopted struct{}

func (adopted) add(int, []byte, Handler, func(Conn)) bool { return false }
func (adopted) release()                                  {}

// watchable returns nc: connections are watched on Linux only.
func watchable(nc net.Conn) net.Conn { return nc }
