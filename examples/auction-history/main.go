// Command auction-history is an auction, http://127.0.0.1:3000. Bids are stored. Who joins gets the last bids and then each
// further one, without a gap, also after a lost connection or a restart of the server.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historyio"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/js"
)

//go:embed index.html
var page embed.FS

// Visit asks for the bids on an item. After and Epoch say what the client already has.
type Visit struct {
	Item  string `json:"item"`
	After int64  `json:"after"`
	Epoch string `json:"epoch"`
}

// Offer is a bid that a client makes. The client makes up the id, and uses it again if it has to repeat the bid.
type Offer struct {
	ID     string `json:"id"`
	Item   string `json:"item"`
	Bidder string `json:"bidder"`
	Amount int    `json:"amount"` // in euros
}

const (
	// Join takes the client into the room of an item. The event newMessage follows for each bid.
	Join = parley.RPC[Visit, history.Opened]("join")
	// Bid makes a bid. The answer is its number.
	Bid = parley.RPC[Offer, int64]("bid")
)

// auction knows who has bid for what.
type auction struct {
	mu   sync.Mutex
	bids *history.Log
}

// serve returns the auction's Socket.IO server.
func (a *auction) serve() (*parley.Server, error) {
	srv, err := parley.New(nil)
	if err != nil {
		return nil, err
	}
	rooms := historyio.New(srv, a.bids, nil)
	parley.HandleStream(srv, Join, func(ctx context.Context, s *parley.Socket, v Visit, ack func(history.Opened) error) error {
		since := history.OpenOptions{Since: v.After, Epoch: v.Epoch}
		return rooms.Join(ctx, s, v.Item, since, func(o history.Opened) { ack(o) }) // ahead of all live bids
	})
	parley.Handle(srv, Bid, func(ctx context.Context, s *parley.Socket, o Offer) (int64, error) {
		if !rooms.Joined(s, o.Item) {
			return 0, &parley.Error{Code: "not_joined", Message: "Join first"}
		}
		return a.bid(ctx, o)
	})
	return srv, nil
}

// bid stores a bid if it is the highest one. A bid that is repeated is stored once, and has the same answer.
func (a *auction) bid(ctx context.Context, o Offer) (int64, error) {
	a.mu.Lock() // one bid at a time
	defer a.mu.Unlock()
	last, err := a.bids.History(ctx, o.Item, history.Page{})
	if err != nil {
		return 0, err
	}
	for _, m := range last.Messages {
		if m.ClientID == o.ID && m.UserID == o.Bidder {
			return m.Seq, nil
		}
	}
	if n := len(last.Messages); n > 0 {
		var highest Offer
		if err := json.Unmarshal(last.Messages[n-1].Message, &highest); err != nil {
			return 0, err
		}
		if o.Amount <= highest.Amount {
			return 0, &parley.Error{Code: "too_low", Message: "Somebody has bid more", Data: highest.Amount}
		}
	}
	bid, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	stored, err := a.bids.Append(ctx, history.Draft{RoomID: o.Item, UserID: o.Bidder, ClientID: o.ID, Message: bid})
	return stored.Message.Seq, err
}

// routes adds the page and the JavaScript client to the server.
func routes(srv *parley.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	mux.Handle("GET /js/", http.StripPrefix("/js/", http.FileServerFS(js.Files)))
	mux.Handle("GET /{$}", http.FileServerFS(page))
	return mux
}

func run(ctx context.Context, addr, file string) error {
	store, err := sqlite.Open(file, nil)
	if err != nil {
		return err
	}
	a := &auction{bids: history.NewLog(store, nil)}
	srv, err := a.serve()
	if err != nil {
		return err
	}
	err = srv.Run(ctx, &http.Server{Addr: addr, Handler: routes(srv)})
	a.bids.Close() // what handlers use ends after them
	return errors.Join(err, store.Close())
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.Print("http://127.0.0.1:3000")
	if err := run(ctx, "127.0.0.1:3000", "auction.db"); err != nil {
		log.Fatal(err)
	}
}
