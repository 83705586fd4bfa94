package main

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/parleytest"
)

// newChat returns the server that is tested.
func newChat(t *testing.T, cluster adapter.Cluster) *parley.Server {
	t.Helper()
	srv, err := chat(map[string]string{"secret-a": "Ann", "secret-b": "Bob"}, cluster)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// join returns a client that has entered the lobby.
func join(t *testing.T, s *parleytest.Server, token string, options ...parleytest.Option) *parleytest.Client {
	t.Helper()
	c := s.MustDial(append(options, parleytest.Auth(map[string]string{"token": token}))...)
	parleytest.Handle(c, Locale, func(parley.None) (string, error) { return "en", nil })
	parleytest.MustCall(c, Enter, "lobby")
	return c
}

func TestSay(t *testing.T) {
	s := parleytest.NewServer(t, newChat(t, nil))
	ann := join(t, s, "secret-a")
	bob := join(t, s, "secret-b")

	parleytest.MustCall(ann, Say, Message{Room: "lobby", Text: "Hello!"})
	if m := parleytest.Next(bob, Said); m.From != "Ann" || m.Text != "Hello!" {
		t.Errorf("Bob hears %+v", m)
	}
	ann.None() // she does not hear herself
}

func TestSayElsewhere(t *testing.T) {
	s := parleytest.NewServer(t, newChat(t, nil))
	ann := join(t, s, "secret-a")

	_, err := parleytest.Call(ann, Say, Message{Room: "attic"})
	var refusal *event.Error
	if !errors.As(err, &refusal) || refusal.Code != "not_in_room" {
		t.Errorf("the server answers %v", err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	s := parleytest.NewServer(t, newChat(t, nil))
	for _, option := range []parleytest.Option{
		parleytest.Auth(map[string]string{"token": "wrong"}),
		parleytest.Polling(),
	} {
		_, err := s.Dial(option)
		var refusal *event.Error
		if !errors.As(err, &refusal) || refusal.Code != "bad_token" {
			t.Errorf("the server answers %v", err)
		}
	}
}

func TestNothingIsMissed(t *testing.T) {
	s := parleytest.NewServer(t, newChat(t, nil))
	ann := join(t, s, "secret-a")
	bob := join(t, s, "secret-b")

	bob.Drop()
	parleytest.MustCall(ann, Say, Message{Room: "lobby", Text: "Where are you?"})
	if !bob.Reconnect() {
		t.Fatal("the server has not recovered the connection")
	}
	if m := parleytest.Next(bob, Said); m.Text != "Where are you?" {
		t.Errorf("Bob hears %+v", m)
	}
}

func TestQuietUsersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := parleytest.NewServer(t, newChat(t, nil))
		ann := join(t, s, "secret-a")

		time.Sleep(9 * time.Minute)
		parleytest.MustCall(ann, Say, Message{Room: "lobby", Text: "still here"})
		time.Sleep(9 * time.Minute)
		if ann.State().Status != client.Connected {
			t.Error("she has to go after 9 minutes")
		}
		time.Sleep(time.Minute)
		if why := ann.Disconnected(); !errors.Is(why, client.ErrServerDisconnect) {
			t.Errorf("she is disconnected: %v", why)
		}
	})
}

func TestLostPhone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newChat(t, nil)
		s := parleytest.NewServer(t, srv)
		ann := join(t, s, "secret-a")

		ann.Freeze()
		time.Sleep(time.Minute) // heartbeats fail
		if n, err := srv.To("lobby").Count(t.Context()); n != 0 || err != nil {
			t.Errorf("%d are in the lobby, %v", n, err)
		}
	})
}

func TestSite(t *testing.T) {
	srv := newChat(t, nil)
	defer srv.Close()
	s := parleytest.NewServer(t, site(srv))
	join(t, s, "secret-a", parleytest.Polling(), parleytest.Header("Cookie", "theme=dark"))

	response, err := s.HTTP().Get(s.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Errorf("the site answers %s", response.Status)
	}
}

func TestCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := adapter.NewMemory() // in place of Redis, NATS or PostgreSQL
		var servers [2]*parleytest.Server
		for i := range servers {
			cluster, err := adapter.New(network.Connect(), nil)
			if err != nil {
				t.Fatal(err)
			}
			servers[i] = parleytest.NewServer(t, newChat(t, cluster))
			if err := cluster.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ann := join(t, servers[0], "secret-a")
		bob := join(t, servers[1], "secret-b")

		parleytest.MustCall(ann, Say, Message{Room: "lobby", Text: "Hello over there!"})
		if m := parleytest.Next(bob, Said); m.From != "Ann" {
			t.Errorf("Bob hears %+v", m)
		}
	})
}
