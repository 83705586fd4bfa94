//go:build unix

// Command stored measures what a stored message costs. It uses only what package history has always
// had, so that bench/before can build it at an earlier commit as well.
//
//	stored -way store    batches of 64 messages, directly into the store
//	stored -way log      64 senders, each of which waits for one message before the next, through a Log
//
// It prints the processor time of a message in microseconds, and messages a second.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

const (
	rooms   = 200
	senders = 64
	warm    = 20 * senders // messages that are not measured
)

func main() {
	way := flag.String("way", "store", "store or log")
	messages := flag.Int("messages", 16_000, "how many to store")
	flag.Parse()
	dir, err := os.MkdirTemp("", "stored")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := sqlite.Open(filepath.Join(dir, "parley.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	send := map[string]func(history.Store, int) error{"store": batches, "log": singly}[*way]
	if send == nil {
		log.Fatalf("there is no way %q", *way)
	}
	if err := send(store, warm); err != nil {
		log.Fatal(err)
	}
	cpu, began := used(), time.Now()
	if err := send(store, *messages); err != nil {
		log.Fatal(err)
	}
	cpu, took := used()-cpu, time.Since(began)
	fmt.Printf("%.3f %.0f\n", cpu.Seconds()*1e6/float64(*messages), float64(*messages)/took.Seconds())
	if err := store.Close(); err != nil {
		log.Fatal(err)
	}
}

func batches(store history.Store, messages int) error {
	drafts := make([]history.Draft, senders)
	for n := 0; n < messages; n += senders {
		for i := range drafts {
			drafts[i] = draft(n + i)
		}
		if _, err := store.Append(context.Background(), drafts); err != nil {
			return err
		}
	}
	return nil
}

func singly(store history.Store, messages int) error {
	l := history.NewLog(store, nil)
	defer l.Close()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(messages); n = next.Add(1) {
				if _, err := l.Append(context.Background(), draft(int(n))); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// random makes the same messages in each run.
var random = struct {
	sync.Mutex
	*rand.Rand
}{Rand: rand.New(rand.NewPCG(1, 2))}

func draft(n int) history.Draft {
	random.Lock()
	room, end := random.IntN(rooms), random.Uint64()
	random.Unlock()
	return history.Draft{
		RoomID: fmt.Sprint("room-", room), UserID: fmt.Sprint("user-", n%5000),
		ClientID: fmt.Sprintf("%012x-7%015x", time.Now().UnixMicro(), end>>4), // like a UUIDv7
		Message: []byte(`{"text":"the parcel has not arrived and the page says that it was ` +
			`handed over on monday could you have a look please"}`),
	}
}

func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
