package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/parley-go/parley/parleytest"
)

func TestUpload(t *testing.T) {
	srv, err := newUploads()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	s := parleytest.NewServer(t, routes(srv))
	ann := s.MustDial()
	file := bytes.Repeat([]byte("0123456789"), 70_000)
	if p := parleytest.MustCall(ann, Begin, File{"digits", int64(len(file))}); p.Done != 0 {
		t.Errorf("at first: %+v", p)
	}
	var last Progress
	for last.Done < last.Size || last.Size == 0 {
		end := min(last.Done+256<<10, int64(len(file)))
		last = parleytest.MustCall(ann, Send, Piece{last.Done, file[last.Done:end]})
	}
	sum := sha256.Sum256(file)
	if last.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("at last: %+v", last)
	}
	for _, wrong := range []Piece{{0, []byte("again")}, {last.Size, []byte("more")}} {
		if _, err := parleytest.Call(ann, Send, wrong); err == nil {
			t.Errorf("%d bytes at %d were taken", len(wrong.Data), wrong.At)
		}
	}
	if _, err := parleytest.Call(ann, Begin, File{"huge", maxFile + 1}); err == nil {
		t.Error("a file that is too large was begun")
	}
	if p := parleytest.Next(ann, Progressed); p.Name != "digits" || p.Done != 0 {
		t.Errorf("everybody was told %+v", p)
	}
}
