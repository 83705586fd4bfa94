package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parley-go/parley/history"
)

// A Position says how far something that is numbered has been taken.
type Position struct {
	Epoch string `json:"epoch"` // names the numbering; empty: nothing was taken yet
	After int64  `json:"after"` // the number up to which everything was taken
	// At is the time of the last message or change that was taken. From there it goes on if the numbering
	// has begun anew.
	At history.Time `json:"at,omitzero"`
}

// A Place is how far a room was taken.
type Place struct {
	Messages Position `json:"messages,omitzero"`
	Notes    Position `json:"notes,omitzero"`
	// Behind says that there was more when this was written.
	Behind bool `json:"behind,omitempty"`
}

// A State is how far a Follower has come.
type State struct {
	Rooms map[string]Place `json:"rooms"`
	// Lobby is how far the changes of conversations were taken, by a Follower of all.
	Lobby Position `json:"lobby,omitzero"`
	// Since is from when on conversations count that are not in Rooms.
	Since history.Time `json:"since,omitzero"`
}

// maxPlaces is how many rooms a State has at most. Beyond that it forgets those in which nothing has
// happened for the longest time.
const maxPlaces = 10_000

// A Journal writes what a Follower takes to an output, and keeps how far it has come in a file, so that
// another run goes on there. If the output is a regular file, everything is written there once, even if the
// process is killed at any moment. A reader of a pipe may get the last batch again after a kill.
type Journal struct {
	path  string // empty: nothing is kept
	out   io.Writer
	write func([]byte) error // to out
}

// kept is the content of a Journal's file.
type kept struct {
	State
	Pending *pending `json:"pending,omitempty"`
}

// pending is what may have been written in part when the process ended. State counts it as written.
type pending struct {
	Text string `json:"text"`
	File string `json:"file,omitempty"` // the identity of the output, if it is a regular file
	Size int64  `json:"size,omitempty"` // of that file before Text
}

// OpenJournal reads the file at path, and writes to out what the last run was about to write. The path may be
// empty: then nothing is kept.
func OpenJournal(path string, out io.Writer) (*Journal, *State, error) {
	j := &Journal{path: path, out: out, write: func(text []byte) error { _, err := out.Write(text); return err }}
	k := kept{}
	if path != "" {
		text, err := os.ReadFile(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return nil, nil, fmt.Errorf("read the state: %w", err)
		case json.Unmarshal(text, &k) != nil || k.Rooms == nil:
			return nil, nil, fmt.Errorf("%s is not a state that tail has written: remove it to begin anew", path)
		}
	}
	if k.Rooms == nil {
		k.Rooms = map[string]Place{}
	}
	if p := k.Pending; p != nil {
		text := []byte(p.Text)
		if file, size := identity(out); file != "" && file == p.File && size >= p.Size {
			text = text[min(size-p.Size, int64(len(text))):]
		}
		if err := j.write(text); err != nil {
			return nil, nil, err
		}
		if err := j.save(&kept{State: k.State}); err != nil {
			return nil, nil, err
		}
	}
	return j, &k.State, nil
}

// Write writes a text, after which the state is s.
func (j *Journal) Write(text []byte, s *State) error {
	if j.path == "" {
		return j.write(text)
	}
	if len(text) > 0 {
		p := &pending{Text: string(text)}
		p.File, p.Size = identity(j.out)
		if err := j.save(&kept{*s, p}); err != nil {
			return err
		}
		if err := j.write(text); err != nil {
			return err
		}
	}
	return j.save(&kept{State: *s})
}

func (j *Journal) save(k *kept) error {
	text, err := json.Marshal(k)
	if err == nil {
		err = replace(j.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}
