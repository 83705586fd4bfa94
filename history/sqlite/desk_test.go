package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// desk does everything that can be done with a conversation, one commit after the other. Most commits
// have several parts, and each part says the number of the commit. So what is stored shows whether a
// commit is there as a whole.
type desk struct {
	store *sqlite.Store
	room  string
	n     int     // of the last commit
	head  int64   // of the room
	fresh []int64 // messages that were neither edited nor deleted
}

// deskFollower reads the changelog from the beginning, and never passes anything.
const deskFollower = "copy"

var deskOperator = history.Member{OperatorID: "op"}

// deskText is the content of messages, notes and records.
type deskText struct {
	Text string `json:"text"`          // of messages, for the search
	N    int    `json:"n"`             // of the commit
	Edit int64  `json:"seq,omitempty"` // in a note: the message that was edited; 0: the room was updated
}

func (d *desk) content(edit int64) json.RawMessage {
	b, err := json.Marshal(deskText{fmt.Sprint("apfel", " ", d.n), d.n, edit})
	if err != nil {
		panic(err)
	}
	return b
}

func (d *desk) note(edit int64) *history.Draft {
	return &history.Draft{RoomID: history.NotesRoom(d.room), OperatorID: "op", ClientID: fmt.Sprint(d.n), Message: d.content(edit)}
}

// promise is what the store has acknowledged.
type promise struct {
	Room    string
	Seq     int64 // a message
	Number  int64 // of its last change
	Note    int64 // the number of a note
	Change  int64 // of the room
	Mark    int64 // of deskOperator
	Records int   // the number of the commit
}

// step makes the next commit.
func (d *desk) step(ctx context.Context) (p promise, err error) {
	d.n++
	p.Room = d.room
	switch d.n % 8 {
	case 3:
		subject := fmt.Sprint(d.n)
		u := history.RoomUpdate{RoomID: d.room, Subject: &subject, AddLabels: []string{subject}, Note: d.note(0)}
		updated, err := d.store.UpdateRoom(ctx, u)
		if err == nil {
			p.Change, p.Note = updated.Room.Change, updated.Note.Seq
		}
		return p, err
	case 4, 5:
		e := history.Edit{RoomID: d.room, Seq: d.fresh[0]}
		if d.n%8 == 4 {
			e.Message, e.Note = d.content(0), d.note(e.Seq)
		}
		edited, err := d.store.Edit(ctx, e)
		d.fresh = d.fresh[1:] // also after an error: it may have been edited
		if err == nil {
			p.Seq, p.Number = e.Seq, edited.Message.Rev
			d.head = edited.Message.Rev
			if edited.Note != nil {
				p.Note = edited.Note.Seq
			}
		}
		return p, err
	case 6:
		marked, err := d.store.MarkRead(ctx, d.room, deskOperator, d.head)
		p.Mark = marked.Seq
		return p, err
	case 7:
		value := d.content(0)
		_, err := d.store.PutRecords(ctx,
			history.Record{Kind: "left", ID: d.room, Value: value, Version: -1},
			history.Record{Kind: "right", ID: d.room, Value: value, Version: -1})
		p.Records = d.n
		return p, err
	default:
		appended, err := d.store.Append(ctx, []history.Draft{{
			RoomID: d.room, UserID: "ann", ClientID: fmt.Sprint(d.n), Message: d.content(0),
			Conversation: &history.Conversation{UserID: "ann", Name: "Ann"},
		}})
		if err == nil {
			err = appended[0].Err
		}
		if err == nil {
			d.head = appended[0].Message.Seq
			p.Seq, p.Number, d.fresh = d.head, d.head, append(d.fresh, d.head)
		}
		return p, err
	}
}

// deskState is what verifyDesks has found.
type deskState struct {
	rooms    map[string]history.Room
	messages map[string]history.Message // by room and seq
	records  map[string]int
	live     int // messages that are not deleted
	change   int64
}

func deskKey(room string, seq int64) string { return fmt.Sprint(room, " ", seq) }

// verifyDesks checks that each commit is there as a whole or not at all, from the changelog to the records.
func verifyDesks(t *testing.T, s *sqlite.Store) deskState {
	t.Helper()
	ctx := context.Background()
	state := deskState{rooms: map[string]history.Room{}, messages: map[string]history.Message{}, records: map[string]int{}}
	heads := map[string]int64{}
	for at := (history.Change{}); ; {
		changes, err := s.ReadChanges(ctx, at.Position, 1000)
		must(t, err)
		if len(changes) == 0 {
			break
		}
		for _, c := range changes {
			if c.Position != at.Position+1 && at.Position != 0 {
				t.Errorf("change %d follows %d", c.Position, at.Position)
			}
			at = c
			switch c.Kind {
			case history.MessageAdded, history.MessageChanged:
				if heads[c.RoomID]++; c.Number != heads[c.RoomID] {
					t.Errorf("%s: the changelog has %d as its change %d", c.RoomID, c.Number, heads[c.RoomID])
				}
			case history.RoomChanged:
				if c.Number <= state.change {
					t.Errorf("%s: change %d follows %d", c.RoomID, c.Number, state.change)
				}
				state.change = c.Number
			}
		}
	}
	notes := map[string][]deskText{}
	for room, head := range heads {
		for pos := int64(0); ; {
			slice, err := s.Changes(ctx, room, pos, history.Limit{Messages: history.MaxLimit})
			must(t, err)
			if slice.Head != head {
				t.Errorf("%s has the number %d, the changelog has %d", room, slice.Head, head)
			}
			for _, m := range slice.Messages {
				state.messages[deskKey(room, m.Seq)] = m
				var text deskText
				if m.Deleted {
					continue
				}
				if err := json.Unmarshal(m.Message, &text); err != nil {
					t.Errorf("%s: %s", deskKey(room, m.Seq), m.Message)
				}
				if of, ok := history.NotesOf(room); ok {
					notes[of] = append(notes[of], text)
				} else {
					state.live++
				}
			}
			if pos = slice.UpTo; pos == slice.Head {
				break
			}
		}
		if _, ok := history.NotesOf(room); ok {
			continue
		}
		r, err := s.Room(ctx, room, deskOperator)
		must(t, err)
		state.rooms[room], state.change = r, max(state.change, r.Change)
	}
	for room, r := range state.rooms {
		subject, edits := "", 0
		for _, note := range notes[room] {
			if note.Edit == 0 {
				subject = fmt.Sprint(note.N)
				continue
			}
			edits++
			if m := state.messages[deskKey(room, note.Edit)]; string(m.Message) != fmt.Sprintf(`{"text":"apfel %d","n":%d}`, note.N, note.N) {
				t.Errorf("%s: the note of %d is there, and the message is %s", deskKey(room, note.Edit), note.N, m.Message)
			}
		}
		if r.Subject != subject || subject != "" && len(r.Labels) == 0 {
			t.Errorf("%s has the subject %q, its notes say %q; labels %q", room, r.Subject, subject, r.Labels)
		}
		for _, m := range state.messages {
			if m.RoomID == room && m.Rev != 0 && !m.Deleted {
				edits--
			}
		}
		if edits != 0 {
			t.Errorf("%s: %d more edits are in the notes than in the messages", room, edits)
		}
		values := [2]string{}
		for i, kind := range []string{"left", "right"} {
			record, err := s.Record(ctx, kind, room)
			if err != nil && !errors.Is(err, history.ErrNotFound) {
				t.Fatal(err)
			}
			values[i] = string(record.Value)
		}
		if values[0] != values[1] {
			t.Errorf("%s: one record is %s, the other %s", room, values[0], values[1])
		} else if values[0] != "" {
			var text deskText
			must(t, json.Unmarshal([]byte(values[0]), &text))
			state.records[room] = text.N
		}
	}
	return state
}

// keeps fails the test unless what was promised is there.
func (s *deskState) keeps(t *testing.T, p promise) {
	t.Helper()
	r, m := s.rooms[p.Room], s.messages[deskKey(p.Room, p.Seq)]
	switch {
	case p.Seq != 0 && m.Number() < p.Number,
		p.Note != 0 && s.messages[deskKey(history.NotesRoom(p.Room), p.Note)].Seq == 0,
		r.Change < p.Change, r.ReadSeq < p.Mark, s.records[p.Room] < p.Records:
		t.Errorf("%+v was acknowledged; the room is %+v, its records are of commit %d", p, r, s.records[p.Room])
	}
}
