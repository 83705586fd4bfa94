package nodewire_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/adapter/redis/redistest"
)

// A lookup of the client library that is put off sleeps for up to a second, also after the client's end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

var quiet = slog.New(slog.DiscardHandler)

func TestClassic(t *testing.T) {
	server := redistest.Start(t)
	n := 0
	for _, specific := range []bool{false, true} {
		t.Run(fmt.Sprintf("specific responses %v", specific), func(t *testing.T) {
			adaptertest.RunCluster(t, nil, func(t *testing.T) adaptertest.Servers {
				n++
				key := fmt.Sprintf("test%d", n)
				return adaptertest.Servers{Anonymous: true, Steps: 300, Start: func(name string) adapter.Cluster {
					c, err := nodewire.Classic(rueidis.ClientOption{InitAddress: []string{server.Addr}}, &nodewire.Options{
						Key: key, Name: name, SpecificResponses: specific, Logger: quiet,
					})
					if err != nil {
						t.Fatal(err)
					}
					return c
				}}
			})
		})
	}
}
