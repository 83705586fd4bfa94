package history

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ExportOptions say what to export. With both ids empty, it is everything.
type ExportOptions struct {
	RoomID string // a room with its notes
	UserID string // a user: the person, and the user's conversations with their notes
	// Since leaves out messages and notes that were neither written nor changed at this time or later,
	// and rooms that then have none. Zero leaves out nothing. Persons are never left out.
	Since time.Time
}

// exported is a line of an export.
type exported struct {
	Type    string          `json:"type,omitempty"` // room, person, message or note
	Room    *exportedRoom   `json:"room,omitempty"`
	Person  *exportedPerson `json:"person,omitempty"`
	Message *Message        `json:"message,omitempty"`
}

// exportEnd is the last line of an export.
type exportEnd struct {
	End  bool  `json:"end"`
	Rows int64 `json:"rows"`
}

type exportedRoom struct {
	RoomID       string          `json:"roomId"`
	UserID       string          `json:"userId,omitempty"`
	OperatorID   string          `json:"operatorId,omitempty"`
	Status       Status          `json:"status,omitempty"`
	Subject      string          `json:"subject,omitempty"`
	Labels       []string        `json:"labels,omitempty"`
	Attributes   json.RawMessage `json:"attributes,omitempty"`
	CreatedAt    Time            `json:"createdAt,omitzero"`
	ClosedAt     Time            `json:"closedAt,omitzero"`
	WaitingSince Time            `json:"waitingSince,omitzero"`
	LastSeq      int64           `json:"lastSeq"`
}

type exportedPerson struct {
	UserID     string          `json:"userId"`
	Name       string          `json:"name,omitempty"`
	Email      string          `json:"email,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
	Verified   bool            `json:"verified,omitempty"`
	Became     string          `json:"became,omitempty"`
	CreatedAt  Time            `json:"createdAt,omitzero"`
	SeenAt     Time            `json:"seenAt,omitzero"`
}

// Names is the capability of a store to list what it has, page after page.
type Names interface {
	// RoomNames returns the ids of rooms, those with notes excepted, after an id, in ascending order
	// of bytes. With a user, only conversations of that user. Limit is at most MaxLimit.
	RoomNames(ctx context.Context, user, after string, limit int) ([]string, error)
	// PersonNames returns the ids of persons after an id, in ascending order of bytes.
	PersonNames(ctx context.Context, after string, limit int) ([]string, error)
}

// Export writes what a store has as lines of JSON:
//
//	{"type":"person","person":{"userId":…,"name":…,"email":…,"attributes":…,…}}
//	{"type":"room","room":{"roomId":…,"userId":…,"status":…,"lastSeq":…,…}}
//	{"type":"message","message":{…}}   a message of the room before, in the order of seq
//	{"type":"note","message":{…}}      a note of the room before
//	{"end":true,"rows":n}              the last line: n lines were before it
//
// Deleted messages have the content null. It reads many short pages while others write, so it is not
// of one moment: a room has everything that it had when Export came to it. Without the last line, the
// export is not whole; see [CheckExport].
//
// It returns the number of lines. A room or user that does not exist is [ErrNotFound]. The store must
// be Rooms, People and Names, otherwise the error is [ErrNotSupported].
func Export(ctx context.Context, store Store, w io.Writer, o ExportOptions) (rows int64, err error) {
	e := exporter{store: store, w: bufio.NewWriterSize(w, 64<<10)}
	if !o.Since.IsZero() {
		e.since = o.Since.UnixMilli()
	}
	var ok [3]bool
	e.rooms, ok[0] = store.(Rooms)
	e.people, ok[1] = store.(People)
	e.names, ok[2] = store.(Names)
	if ok != [3]bool{true, true, true} {
		return 0, ErrNotSupported
	}
	switch {
	case o.RoomID != "" && o.UserID != "":
		return 0, ErrBadPage.because("a room or a user")
	case o.RoomID != "":
		err = e.room(ctx, o.RoomID)
	case o.UserID != "":
		err = e.user(ctx, o.UserID)
	default:
		if err = e.all(ctx, func(after string) ([]string, error) { return e.names.PersonNames(ctx, after, MaxLimit) }, e.person); err == nil {
			err = e.conversations(ctx, "")
		}
	}
	if err != nil {
		return e.rows, err
	}
	if err := e.line(exportEnd{End: true, Rows: e.rows}); err != nil {
		return e.rows, err
	}
	return e.rows - 1, e.w.Flush()
}

type exporter struct {
	store  Store
	rooms  Rooms
	people People
	names  Names
	w      *bufio.Writer
	rows   int64
	since  int64     // in milliseconds
	exists bool      // there is something, exported or left out
	head   *exported // the line of the room, to be written before its first message
}

func (e *exporter) line(x any) error {
	line, err := json.Marshal(x)
	if err != nil {
		return err
	}
	e.rows++
	if _, err := e.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("parley: write the export: %w", err)
	}
	return nil
}

// all calls f with all names. What is gone meanwhile is left out.
func (e *exporter) all(ctx context.Context, page func(after string) ([]string, error), f func(ctx context.Context, name string) error) error {
	for after := ""; ; {
		names, err := page(after)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := f(ctx, name); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			after = name
		}
	}
}

func (e *exporter) conversations(ctx context.Context, user string) error {
	return e.all(ctx, func(after string) ([]string, error) { return e.names.RoomNames(ctx, user, after, MaxLimit) }, e.room)
}

// user exports a user with all ids that it had as a visitor.
func (e *exporter) user(ctx context.Context, id string) error {
	ids, err := e.people.Identities(ctx, id)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := e.person(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := e.conversations(ctx, id); err != nil {
			return err
		}
	}
	if !e.exists {
		return ErrNotFound
	}
	return nil
}

func (e *exporter) person(ctx context.Context, id string) error {
	p, err := e.people.Person(ctx, id)
	if err != nil {
		return err
	}
	e.exists = true
	return e.line(exported{Type: "person", Person: &exportedPerson{
		UserID: p.UserID, Name: p.Name, Email: p.Email, Attributes: p.Attributes, Verified: p.Verified,
		Became: p.Became, CreatedAt: p.CreatedAt, SeenAt: p.SeenAt,
	}})
}

func (e *exporter) room(ctx context.Context, name string) error {
	r, err := e.rooms.Room(ctx, name, Member{})
	if err != nil {
		return err
	}
	e.exists = true
	e.head = &exported{Type: "room", Room: &exportedRoom{
		RoomID: r.RoomID, UserID: r.UserID, OperatorID: r.OperatorID, Status: r.Status, Subject: r.Subject, Labels: r.Labels,
		Attributes: r.Attributes, CreatedAt: r.CreatedAt, ClosedAt: r.ClosedAt, WaitingSince: r.WaitingSince, LastSeq: r.Head,
	}}
	if e.since == 0 {
		if err := e.begin(); err != nil {
			return err
		}
	}
	if err := e.messages(ctx, name, "message"); err != nil {
		return err
	}
	return e.messages(ctx, NotesRoom(name), "note")
}

// begin writes the line of the room, unless that was done.
func (e *exporter) begin() error {
	head := e.head
	if e.head = nil; head == nil {
		return nil
	}
	return e.line(head)
}

func (e *exporter) messages(ctx context.Context, room, kind string) error {
	if CheckRoom(room) != nil {
		return nil // an id that is too long for notes
	}
	for after := int64(-1); ; {
		s, err := e.store.History(ctx, room, Page{After: after, Limit: Limit{Messages: MaxLimit}})
		if err != nil {
			return err
		}
		for i := range s.Messages {
			m := &s.Messages[i]
			if after = m.Seq; max(m.Timestamp.UnixMilli(), m.EditedAt.UnixMilli()) < e.since {
				continue
			}
			if err := e.begin(); err != nil {
				return err
			}
			if err := e.line(exported{Type: kind, Message: m}); err != nil {
				return err
			}
		}
		if !s.MoreAfter || len(s.Messages) == 0 {
			return nil
		}
	}
}

// CheckExport reads an export and returns how many lines it has before the last one. If it is cut off,
// damaged or followed by something else, it returns an error.
func CheckExport(r io.Reader) (rows int64, err error) {
	d := json.NewDecoder(r)
	for {
		var line exportEnd
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			return rows, errors.New("parley: the export is cut off: it has no last line")
		} else if err != nil {
			return rows, fmt.Errorf("parley: the export is damaged after line %d: %w", rows, err)
		}
		if !line.End {
			rows++
			continue
		}
		if line.Rows != rows {
			return rows, fmt.Errorf("parley: the export is not whole: it has %d lines of %d", rows, line.Rows)
		}
		if d.More() {
			return rows, errors.New("parley: the export goes on after its last line")
		}
		return rows, nil
	}
}
