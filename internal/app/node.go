package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis/nodewire"
)

// A node is what makes this server one of a cluster.
type node struct {
	name   string
	bus    adapter.Bus
	native *adapter.Native // knows the other servers of this kind, and closes the bus
	wire   adapter.Cluster // carries what concerns sockets: native, or what servers on Node.js understand
}

// joinTimeout is how long a server looks for the others before it gives up.
const joinTimeout = 10 * time.Second

// openNode connects the server to the engine of its cluster. join completes that.
func openNode(c *Config, log *slog.Logger) (*node, error) {
	name, err := c.nodeName()
	if err != nil {
		return nil, err
	}
	bus, err := engineOf(c.Cluster).open(c.Cluster, log)
	if err != nil {
		return nil, fmt.Errorf("cluster: %s: %w", withoutPassword(c.Cluster), err)
	}
	n := &node{name: name, bus: bus}
	if n.native, err = adapter.New(bus, &adapter.Options{Name: name, Logger: log}); err != nil {
		bus.Close()
		return nil, err
	}
	n.wire = lasting{n.native}
	if c.ClusterWire == wireRedis {
		o, err := rueidis.ParseURL(c.Cluster)
		if err == nil {
			n.wire, err = nodewire.Classic(o, &nodewire.Options{Name: name, Logger: log})
		}
		if err != nil {
			n.close()
			return nil, fmt.Errorf("cluster: %s: %w", withoutPassword(c.Cluster), err)
		}
	}
	return n, nil
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
	if n != nil {
		n.native.Close()
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
