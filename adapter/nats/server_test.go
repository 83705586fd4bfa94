package nats_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer is a server of NATS that ends with its test.
type natsServer struct {
	*server.Server
	t    *testing.T
	opts server.Options
}

// start starts a server on a free port of the loopback interface.
func start(t *testing.T, change func(*server.Options)) *natsServer {
	t.Helper()
	s := &natsServer{t: t, opts: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}}
	if change != nil {
		change(&s.opts)
	}
	s.run()
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) run() {
	s.t.Helper()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(2 * time.Minute) {
		s.t.Fatal("the server of NATS did not start")
	}
	s.Server = srv
	s.opts.Port = opts.Port
}

func (s *natsServer) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// startCluster starts servers that are connected with each other.
func startCluster(t *testing.T, n int) (all []*natsServer) {
	t.Helper()
	var routes []*url.URL
	for i := range n {
		s := start(t, func(o *server.Options) {
			o.ServerName = fmt.Sprint("server-", i)
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT}
			o.Routes = routes
		})
		all, routes = append(all, s), append(routes, &url.URL{Scheme: "nats", Host: s.ClusterAddr().String()})
	}
	return all
}
