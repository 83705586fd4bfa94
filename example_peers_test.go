package parley_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
)

// Two servers of a cluster, whose clients may use either. In a program each is a process of its own, the
// bus is one of package adapter/redis, say, and the addresses for other servers are those of a private
// network.
func ExampleServer_ServePeers() {
	network := adapter.NewMemory()
	start := func(name string) (server *parley.Server, url string) {
		internal, err := net.Listen("tcp", "127.0.0.1:0") // for other servers
		if err != nil {
			log.Fatal(err)
		}
		cluster, err := adapter.New(network.Connect(), &adapter.Options{Name: name, Address: internal.Addr().String(), Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		server, err = parley.New(&parley.Options{Cluster: cluster, ClusterSecret: "a secret of all these servers", Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		go server.ServePeers(internal)
		public, err := net.Listen("tcp", "127.0.0.1:0") // for clients
		if err != nil {
			log.Fatal(err)
		}
		go server.Serve(public)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cluster.Join(ctx); err != nil {
			log.Fatal(err)
		}
		return server, "http://" + public.Addr().String() + "/socket.io/?EIO=4&transport=polling"
	}
	one, first := start("node-1")
	defer one.Close()
	two, second := start("node-2")
	defer two.Close()

	// What a client with long polling does: the first server begins its session, the second one gets
	// the next request.
	request := func(method, url, body string) string {
		r, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		return string(answer)
	}
	_, open, _ := strings.Cut(request("GET", first, ""), `"sid":"`)
	sid, _, _ := strings.Cut(open, `"`)
	fmt.Println(request("POST", second+"&sid="+sid, "40"))

	// Output:
	// ok
}
