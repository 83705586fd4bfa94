package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/parleytest"
)

func TestChat(t *testing.T) {
	srv, err := chat()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	s := parleytest.NewServer(t, routes(srv))
	ann, bob := s.MustDial(), s.MustDial(parleytest.Polling())
	if n := parleytest.MustCall(ann, Say, "hello"); n != 2 {
		t.Errorf("%d have received it", n)
	}
	for _, c := range []*parleytest.Client{ann, bob} {
		var text string
		if c.Next("said", &text); text != "hello" {
			t.Errorf("heard %q", text)
		}
	}
	var refusal *parley.Error
	if _, err := parleytest.Call(ann, Say, ""); !errors.As(err, &refusal) || refusal.Code != "empty" {
		t.Errorf("nothing was said: %v", err)
	}
	bob.None()
}

func TestPage(t *testing.T) {
	srv, err := chat()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	s := parleytest.NewServer(t, routes(srv))
	for path, want := range map[string]string{"/": "/js/parley.js", "/js/parley.js": "export function connect"} {
		resp, err := s.HTTP().Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, %v: %.100s", path, resp.Status, err, body)
		}
	}
}
