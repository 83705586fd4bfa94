package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis"
)

// An engine carries messages between the servers of a cluster.
type engine struct {
	schemes []string // of the URLs that name it
	example string
	check   func(url string) error
	open    func(url string, log *slog.Logger) (adapter.Bus, error)
}

// engines is what the setting cluster can name.
var engines = []engine{
	{schemes: []string{"redis", "rediss"}, example: "redis://10.0.0.5:6379",
		check: func(url string) error { _, err := rueidis.ParseURL(url); return err },
		open: func(url string, log *slog.Logger) (adapter.Bus, error) {
			o, err := rueidis.ParseURL(url)
			if err != nil {
				return nil, err
			}
			return redis.New(o, &redis.Options{Logger: log})
		}},
}

// engineOf returns the engine that a URL names, or nil.
func engineOf(url string) *engine {
	scheme, _, _ := strings.Cut(url, ":")
	for i, e := range engines {
		if slices.Contains(e.schemes, scheme) {
			return &engines[i]
		}
	}
	return nil
}

// clusterURL does not repeat a value that it refuses, since that may contain a password.
func clusterURL(to *string) value {
	var want []string
	for _, e := range engines {
		want = append(want, e.example)
	}
	v := parsed(to, "a URL such as "+strings.Join(want, " or "), func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		e := engineOf(s)
		return allowed(s, e != nil && e.check(s) == nil)
	})
	v.show = withoutPassword
	return v
}

// withoutPassword returns what may be shown of a URL.
func withoutPassword(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return hidden(s)
	}
	return u.Redacted()
}

// nodeName accepts the name of a server in its cluster.
func nodeName(to *string) value {
	return parsed(to, "a name of at most 64 letters, digits, dots, hyphens and underscores", func(s string) (string, error) {
		return allowed(s, len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r == ':' || notOfHost(r) }))
	})
}

// Values of cluster-wire.
const (
	wireNative = "native"
	wireRedis  = "redis-adapter"
)

// sharedStore says what to do without a store for all servers.
const sharedStore = "set data to the URL of a PostgreSQL database, such as postgres://parley@10.0.0.6/parley"

// checkCluster checks the combination of the settings of the cluster.
func (c *Config) checkCluster() error {
	if c.Cluster == "" {
		switch {
		case c.ClusterName != "":
			return errors.New("cluster-name: there is no cluster: set cluster, or leave this out")
		case c.ClusterWire != wireNative:
			return errors.New("cluster-wire: there is no cluster: set cluster, or leave this out")
		}
		return nil
	}
	switch {
	case c.inMemory():
		return errors.New("cluster: the servers of a cluster need a store that all of them use, and this one would keep messages in its own memory: " + sharedStore)
	case !c.sharedStore():
		return fmt.Errorf("cluster: the servers of a cluster need a store that all of them use, and the directory %q is this server's alone: %s", c.Data, sharedStore)
	case c.ClusterWire != wireNative && engineOf(c.Cluster).schemes[0] != "redis":
		return fmt.Errorf("cluster-wire: servers on Node.js with this adapter are reached through Redis: set cluster to a URL such as %s", engines[0].example)
	}
	return nil
}
