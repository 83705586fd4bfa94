package remote_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/remote"
)

func appendTo(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What was not certainly written is written again to another output.
func TestJournalOfAnotherOutput(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	j, s, err := remote.OpenJournal(state, appendTo(t, filepath.Join(dir, "out")))
	if err != nil {
		t.Fatal(err)
	}
	remote.CutJournal(j, func([]byte) error { return errors.New("killed") })
	if err := j.Write([]byte("one\n"), s); err == nil {
		t.Fatal("it was not cut")
	}
	var pipe bytes.Buffer
	if _, _, err := remote.OpenJournal(state, &pipe); err != nil || pipe.String() != "one\n" {
		t.Errorf("%q, %v", pipe.String(), err)
	}
	pipe.Reset()
	if _, _, err := remote.OpenJournal(state, &pipe); err != nil || pipe.Len() > 0 {
		t.Errorf("again: %q, %v", pipe.String(), err)
	}
}

func TestDamagedState(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"epoch":"x"}`} {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := remote.OpenJournal(path, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
