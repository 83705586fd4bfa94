//go:build unix

package remote_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/parley-go/parley/internal/remote"
)

// A kill at any byte of what is written loses nothing, and doubles nothing in a file.
func TestJournalIsCutAnywhere(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	for at := range len(text) + 1 {
		dir := t.TempDir()
		state, out := filepath.Join(dir, "state"), filepath.Join(dir, "out")
		file := appendTo(t, out)
		j, s, err := remote.OpenJournal(state, file)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Write([]byte("zero\n"), s); err != nil {
			t.Fatal(err)
		}
		s.Rooms["r"] = remote.Place{Messages: remote.Position{Epoch: "e", After: 4}}
		remote.CutJournal(j, func(b []byte) error {
			file.Write(b[:at])
			return errors.New("killed")
		})
		if err := j.Write([]byte(text), s); err == nil {
			t.Fatal("it was not cut")
		}
		_, s, err = remote.OpenJournal(state, appendTo(t, out))
		if err != nil || s.Rooms["r"].Messages.After != 4 {
			t.Fatalf("%+v, %v", s, err)
		}
		for range 2 { // the second time, nothing is pending
			if got, err := os.ReadFile(out); string(got) != "zero\n"+text || err != nil {
				t.Fatalf("cut at %d: %q, %v", at, got, err)
			}
			if _, _, err := remote.OpenJournal(state, appendTo(t, out)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
