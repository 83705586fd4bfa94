package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/nats"
	"github.com/parley-go/parley/adapter/postgres"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/nodewire"
)

// An engine carries messages between the servers of a cluster.
type engine struct {
	name    string
	schemes []string // of the URLs that name it
	example string
	form    string // of its URLs
	check   func(url string) error
	open    func(url, secret string, log *slog.Logger) (adapter.Bus, error) // secret is the cluster's, if all servers speak natively
}

// engines is what the setting cluster can name.
var engines = []engine{
	{name: "Redis", schemes: []string{"redis", "rediss"}, example: "redis://10.0.0.5:6379",
		form:  "redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss:// with TLS; the options are " + strings.Join(redisOptions, ", "),
		check: checkRedis,
		open: func(url, _ string, log *slog.Logger) (adapter.Bus, error) {
			o, err := rueidis.ParseURL(url)
			if err != nil {
				return nil, err
			}
			return redis.New(o, &redis.Options{Logger: log})
		}},
	{name: "NATS", schemes: []string{"nats", "tls"}, example: "nats://10.0.0.5:4222",
		form: "nats://USER:PASSWORD@HOST:PORT, or tls://; of several, all are whole URLs with commas between them",
		check: func(urls string) error {
			for one := range strings.SplitSeq(urls, ",") {
				if u, err := url.Parse(one); err != nil || u.Host == "" {
					return errNotAllowed
				}
			}
			return nil
		},
		open: func(url, _ string, log *slog.Logger) (adapter.Bus, error) {
			return nats.New(url, &nats.Options{Logger: log})
		}},
	{name: "PostgreSQL", schemes: []string{"postgres", "postgresql"}, example: "postgres://parley@10.0.0.6/parley",
		form:  "postgres://USER:PASSWORD@HOST/DATABASE, with the options of libpq",
		check: func(url string) error { _, err := pgx.ParseConfig(url); return err },
		open: func(url, _ string, log *slog.Logger) (adapter.Bus, error) {
			return postgres.New(url, &postgres.Options{Logger: log})
		}},
	{name: "the servers themselves", schemes: []string{"peers"}, example: "peers:10.0.0.5:6222,10.0.0.6:6222",
		form: "peers:HOST:PORT,HOST:PORT with all servers, and no slashes", check: checkPeers, open: openPeers},
}

// redisOptions are what rueidis.ParseURL reads of a URL. It ignores all others.
var redisOptions = []string{"addr", "client_cache", "client_name", "db", "dial_timeout", "master_set", "max_retries", "protocol", "skip_verify", "write_timeout"}

func checkRedis(setting string) error {
	u, err := url.Parse(setting)
	if err != nil {
		return err
	}
	for name := range u.Query() {
		if !slices.Contains(redisOptions, name) {
			return errNotAllowed
		}
	}
	if u.Hostname() == "" {
		return errNotAllowed
	}
	_, err = rueidis.ParseURL(setting)
	return err
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
	return value{show: withoutPassword, set: func(s string) error {
		switch e := engineOf(s); {
		case s != "" && e == nil:
			return errors.New("a URL such as " + strings.Join(want, " or "))
		case s != "" && e.check(s) != nil:
			return errors.New(e.form)
		}
		*to = s
		return nil
	}}
}

// withoutPassword returns what may be shown of a URL, or of several with commas between them.
func withoutPassword(s string) string {
	if strings.Count(s, "://") > 1 {
		parts := strings.Split(s, ",")
		for i, part := range parts {
			parts[i] = withoutPassword(part)
		}
		return strings.Join(parts, ",")
	}
	u, err := url.Parse(s)
	if err != nil {
		return hidden(s)
	}
	if _, has := u.User.Password(); !has && u.User != nil && (u.Scheme == "nats" || u.Scheme == "tls") {
		u.User = url.User("xxxxx") // it is a token
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(name, "password") {
			query.Set(name, "xxxxx")
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}

// nodeName accepts the name of a server in its cluster.
func nodeName(to *string) value {
	return parsed(to, "a name of at most 64 letters, digits, dots, hyphens and underscores", func(s string) (string, error) {
		return allowed(s, len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r == ':' || notOfHost(r) }))
	})
}

// internalAddress accepts an address for other machines, or nothing.
func internalAddress(to *string) value {
	v := addressOr(to, "", func(string) bool { return false })
	set := v.set
	v.set = func(s string) error {
		if set(s) != nil {
			return errors.New("host:port, such as 10.0.0.7:8081 or :8081")
		}
		return nil
	}
	return v
}

// Values of cluster-wire.
const (
	wireNative  = "native"
	wireRedis   = "redis-adapter"
	wireSharded = "redis-adapter-sharded"
)

// anotherWire accepts a value of cluster-wire, or nothing.
func anotherWire(to *string) value {
	v := oneOf(to, wireNative, wireRedis, wireSharded)
	set := v.set
	v.set = func(s string) error {
		if s == "" {
			*to = ""
			return nil
		}
		return set(s)
	}
	return v
}

// speaksNodes reports whether the server speaks what servers on Node.js understand, or hears it.
func (c *Config) speaksNodes() bool { return c.ClusterWire != wireNative || c.ClusterReceive != "" }

const interestAll, interestRooms = string(nodewire.Everything), string(nodewire.Rooms)

// sharedStore says what to do without a store for all servers.
const sharedStore = "set data to the URL of a PostgreSQL database, such as postgres://parley@10.0.0.6/parley"

// checkCluster checks the combination of the settings of the cluster.
func (c *Config) checkCluster() error {
	if c.Cluster == "" {
		for name, given := range map[string]bool{
			"cluster-name": c.ClusterName != "", "cluster-addr": c.ClusterAddr != "", "cluster-wire": c.ClusterWire != wireNative, "cluster-receive": c.ClusterReceive != "", "cluster-interest": c.ClusterInterest != interestAll,
			"cluster-secret": c.ClusterSecret != "", "cluster-secret-file": c.ClusterSecretFile != "",
		} {
			if given {
				return fmt.Errorf("%s: there is no cluster: set cluster, or leave this out", name)
			}
		}
		return nil
	}
	switch {
	case c.inMemory():
		return errors.New("cluster: the servers of a cluster need a store that all of them use, and this one would keep messages in its own memory: " + sharedStore)
	case !c.inPostgres():
		return fmt.Errorf("cluster: the servers of a cluster need a store that all of them use, and the directory %q is this server's alone: %s", c.Data, sharedStore)
	case c.ClusterReceive == c.ClusterWire:
		return fmt.Errorf("cluster-receive: this server receives %s anyway: name the wire that it speaks next, or the one that it has left", c.ClusterWire)
	case c.speaksNodes() && (c.ClusterAddr != "" || c.ClusterSecret != "" || c.ClusterSecretFile != ""):
		return errors.New("cluster-addr, cluster-secret: with this cluster-wire or cluster-receive, servers pass nothing on to each other, and the proxy in front needs sticky sessions")
	case c.ClusterSecret != "" && c.ClusterSecretFile != "":
		return errors.New("cluster-secret and cluster-secret-file exclude each other")
	case c.ClusterInterest != interestAll && c.ClusterWire != wireRedis && c.ClusterReceive != wireRedis:
		return fmt.Errorf("cluster-interest: only cluster-wire %s leaves a choice", wireRedis)
	case c.speaksNodes() && engineOf(c.Cluster).name != "Redis":
		return fmt.Errorf("cluster-wire: servers on Node.js with this adapter are reached through Redis: set cluster to a URL such as %s", engines[0].example)
	}
	return nil
}
