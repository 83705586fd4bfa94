package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/history"
)

// A node is what makes this server one of a cluster.
type node struct {
	name   string
	port   net.Listener // for the other servers; nil: they pass nothing on to each other
	secret string       // that they share for that
	bus    adapter.Bus
	native *adapter.Native // knows the other servers of this kind, and closes the bus
	wire   adapter.Cluster // carries what concerns sockets: native, or what servers on Node.js understand
}

// joinTimeout is how long a server looks for the others before it gives up.
const joinTimeout = 10 * time.Second

// openNode connects the server to the engine of its cluster. join completes that.
func openNode(c *Config, store history.Store, log *slog.Logger) (_ *node, err error) {
	n := &node{}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.name, err = c.nodeName(); err != nil {
		return nil, err
	}
	var address string
	if !c.speaksNodes() { // with others, the proxy needs sticky sessions anyway
		if n.secret, err = c.clusterSecret(store); err != nil {
			return nil, err
		}
		if n.port, address, err = c.listenInternal(); err != nil {
			return nil, err
		}
	}
	failed := func(err error) (*node, error) {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: what listens there does not answer as %s does; look at the address, and whether it wants TLS", err, engineOf(c.Cluster).name)
		}
		return nil, fmt.Errorf("cluster: %s: %w", withoutPassword(c.Cluster), err)
	}
	bus, err := engineOf(c.Cluster).open(c.Cluster, n.secret, log)
	if err != nil {
		return failed(err)
	}
	n.bus = bus
	if n.native, err = adapter.New(n.bus, &adapter.Options{Name: n.name, Address: address, Logger: log}); err != nil {
		return nil, err
	}
	if n.wire, err = n.open(c, c.ClusterWire, log); err != nil {
		return failed(err)
	}
	if c.ClusterReceive != "" {
		second, err := n.open(c, c.ClusterReceive, log)
		if err != nil {
			n.wire.Close()
			return failed(err)
		}
		n.wire = adapter.Both(n.wire, second)
	}
	return n, nil
}

// open connects the server with those that speak a wire.
func (n *node) open(c *Config, wire string, log *slog.Logger) (adapter.Cluster, error) {
	if wire == wireNative {
		return lasting{n.native}, nil
	}
	o, err := rueidis.ParseURL(c.Cluster)
	if err != nil {
		return nil, err
	}
	open := nodewire.Classic
	if wire == wireSharded {
		open = nodewire.Sharded
	}
	return open(o, &nodewire.Options{Name: n.name, Interest: nodewire.Interest(c.ClusterInterest), Logger: log})
}

// lasting is a cluster that outlives the Socket.IO server: until everything is stored, the other servers
// hear of it.
type lasting struct{ *adapter.Native }

// Close implements adapter.Cluster. node.close closes the cluster.
func (lasting) Close() error { return nil }

// join waits until the server knows the others, and they have accepted its name.
func (n *node) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if err := n.native.Join(ctx); err != nil {
		return fmt.Errorf("cluster: %w; --cluster-name names this one", err)
	}
	return nil
}

// alone reports whether there is no other server to which clients could move.
func (n *node) alone() bool {
	for _, other := range n.native.Nodes()[1:] {
		if !other.Draining {
			return false
		}
	}
	return true
}

// close says goodbye.
func (n *node) close() {
	switch {
	case n == nil:
		return
	case n.native != nil:
		n.native.Close()
	case n.bus != nil:
		n.bus.Close()
	}
	if n.port != nil {
		n.port.Close()
	}
}

// nodeFile is the file in the state directory that makes the server's name its own.
const nodeFile = "node"

// nodeName returns the server's name in its cluster. It is the host's name and a suffix that the server
// keeps, unless the settings have one.
func (c *Config) nodeName() (string, error) {
	if c.ClusterName != "" {
		return c.ClusterName, nil
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	suffix := strings.ToLower(rand.Text()[:6])
	if dir := c.stateDir(); dir != "" {
		path := filepath.Join(dir, nodeFile)
		kept, err := os.ReadFile(path)
		switch {
		case err == nil && len(kept) > 0:
			suffix = strings.TrimSpace(string(kept))
		case err == nil || errors.Is(err, fs.ErrNotExist):
			if err := os.WriteFile(path, []byte(suffix+"\n"), 0o600); err != nil {
				return "", fmt.Errorf("the name of this server: %w", err)
			}
		default:
			return "", fmt.Errorf("the name of this server: %w", err)
		}
	}
	return cmp.Or(host, "node") + "-" + suffix, nil
}
