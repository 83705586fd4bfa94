package redis_test

import (
	"log"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis"
)

func Example() {
	bus, err := redis.New(rueidis.MustParseURL("redis://127.0.0.1:6379"), nil)
	if err != nil {
		log.Fatal(err)
	}
	cluster, err := adapter.New(bus, &adapter.Options{Name: "node-1"})
	if err != nil {
		log.Fatal(err)
	}
	server, err := parley.New(&parley.Options{Cluster: cluster})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.ListenAndServe(":3000"))
}
