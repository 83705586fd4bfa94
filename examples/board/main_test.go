package main

import (
	"testing"

	"github.com/parley-go/parley/parleytest"
)

func TestBoard(t *testing.T) {
	srv, err := newBoards()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	s := parleytest.NewServer(t, routes(srv))
	ann, bob, eve := s.MustDial(), s.MustDial(), s.MustDial()
	parleytest.MustCall(eve, Enter, Seat{"other", "eve"})
	parleytest.MustCall(ann, Enter, Seat{"one", "ann"})
	if all := parleytest.MustCall(bob, Enter, Seat{"one", "bob"}); len(all) != 2 {
		t.Errorf("there are %v", all)
	}
	if who := parleytest.Next(ann, Entered); who != (Person{bob.ID(), "bob"}) {
		t.Errorf("%v has entered", who)
	}
	if _, err := parleytest.Call(bob, Enter, Seat{"two", "bob"}); err == nil {
		t.Error("bob has two seats")
	}

	parleytest.Send(bob, Move, Point{3, 4})
	if id, at := parleytest.Next2(ann, Moved); id != bob.ID() || at != (Point{3, 4}) {
		t.Errorf("%s is at %v", id, at)
	}
	parleytest.Send2(bob, Draw, Point{0, 0}, Point{3, 4})
	if from, to := parleytest.Next2(ann, Drawn); from != (Point{0, 0}) || to != (Point{3, 4}) {
		t.Errorf("a line from %v to %v", from, to)
	}

	id := bob.ID()
	bob.Drop()
	if gone := parleytest.Next(ann, Left); gone != id {
		t.Errorf("%s has left", gone)
	}
	eve.None()
}
