package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/parleytest"
)

// serveAuction serves the auction in a file, until end is called.
func serveAuction(t *testing.T, file string) (s *parleytest.Server, end func()) {
	store, err := sqlite.Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &auction{bids: history.NewLog(store, nil)}
	srv, err := a.serve()
	if err != nil {
		t.Fatal(err)
	}
	return parleytest.NewServer(t, routes(srv)), func() {
		srv.Close()
		a.bids.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// next returns the next bid that a client hears of.
func next(t *testing.T, c *parleytest.Client) (seq int64, o Offer) {
	var m history.Message
	c.Next("newMessage", &m)
	if err := json.Unmarshal(m.Message, &o); err != nil {
		t.Fatal(err)
	}
	return m.Seq, o
}

func TestAuction(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auction.db")
	s, end := serveAuction(t, file)
	ann, bob := s.MustDial(), s.MustDial()
	if _, err := parleytest.Call(ann, Bid, Offer{"a1", "teapot", "ann", 10}); err == nil {
		t.Error("a bid of somebody who has not joined")
	}
	opened := parleytest.MustCall(ann, Join, Visit{Item: "teapot"})
	parleytest.MustCall(bob, Join, Visit{Item: "teapot"})

	parleytest.MustCall(ann, Bid, Offer{"a1", "teapot", "ann", 10})
	if n := parleytest.MustCall(ann, Bid, Offer{"a1", "teapot", "ann", 10}); n != 1 {
		t.Errorf("the same bid again has the number %d", n)
	}
	if _, err := parleytest.Call(bob, Bid, Offer{"b1", "teapot", "bob", 10}); err == nil {
		t.Error("a bid that is not higher was taken")
	}
	parleytest.MustCall(bob, Bid, Offer{"b2", "teapot", "bob", 12})
	for _, c := range []*parleytest.Client{ann, bob} {
		for i, want := range []int{10, 12} {
			if seq, o := next(t, c); seq != int64(i+1) || o.Amount != want {
				t.Errorf("bid %d is %d €, not %d", seq, o.Amount, want)
			}
		}
		c.None("newMessage")
	}

	// Ann is away while the server restarts and bob bids more.
	ann.Close()
	end()
	s, end = serveAuction(t, file)
	defer end()
	bob = s.MustDial()
	parleytest.MustCall(bob, Join, Visit{Item: "teapot"})
	parleytest.MustCall(bob, Bid, Offer{"b3", "teapot", "bob", 15})
	ann = s.MustDial()
	missed := parleytest.MustCall(ann, Join, Visit{"teapot", 2, opened.Epoch})
	if len(missed.Messages) != 1 || missed.Messages[0].Seq != 3 || missed.Reset {
		t.Errorf("ann has missed %+v", missed)
	}
}

// run ends when its context does, and nothing is open then.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "auction.db")
	if err := run(ctx, "127.0.0.1:0", file); err != nil {
		t.Fatal(err)
	}
	_, end := serveAuction(t, file) // a second one could not open it
	end()
}
