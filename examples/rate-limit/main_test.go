package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/parleytest"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := newServer()
		if err != nil {
			t.Fatal(err)
		}
		s := parleytest.NewServer(t, srv)
		ann, bob := s.MustDial(), s.MustDial()
		for range 5 {
			parleytest.MustCall(ann, Say, "hello")
		}
		var refusal *parley.Error
		if _, err := parleytest.Call(ann, Say, "hello"); !errors.As(err, &refusal) || refusal.Code != "too_fast" {
			t.Errorf("a sixth event: %v", err)
		}
		parleytest.MustCall(bob, Say, "hello") // has a budget of its own
		time.Sleep(time.Second)
		parleytest.MustCall(ann, Say, "hello")
	})
}
