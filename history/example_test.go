package history_test

import (
	"context"
	"fmt"

	"github.com/parley-go/parley/history"
)

// printer is a member of a room.
type printer chan string

func (p printer) Deliver(m *history.Live) { p <- "live: " + string(m.Message.Message) }

func Example() {
	ctx := context.Background()
	store := history.NewMemory() // or sqlite.Open(path, nil)
	defer store.Close()
	log := history.NewLog(store, nil)
	defer log.Close()

	log.Append(ctx, history.Draft{RoomID: "lobby", UserID: "ann", Message: []byte(`"hello"`)})

	bob := make(printer, 10)
	sub, err := log.Open(ctx, "lobby", history.OpenOptions{}, bob, func(o history.Opened) {
		for _, m := range o.Messages {
			bob <- "page: " + string(m.Message)
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()

	log.Append(ctx, history.Draft{RoomID: "lobby", UserID: "ann", Message: []byte(`"still here?"`)})
	fmt.Println(<-bob)
	fmt.Println(<-bob)
	// Output:
	// page: "hello"
	// live: "still here?"
}
