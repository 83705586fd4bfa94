package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/remote"
)

var roomCommands = []command{
	{name: "tail", args: "[ROOM…]", remote: true, does: "print the messages of rooms, and then those that come, without a gap",
		doc: `It ends with Ctrl-C, and after --count messages. If the connection breaks, it goes on where it was: no
message is missing and none comes twice. --state keeps in a FILE how far it has come, so the next run goes on
there. If the output is a file to which nobody else writes, this holds even if tail is killed at any moment.
If it is a pipe, the last lines before a kill may come again: roomId, seq and rev tell.
--all follows all conversations, for operators. It begins with what comes, or with --since.
An edited message comes again, with its rev. A deleted one comes with deleted.`,
		prints: printedMessage{}, lines: true, setup: tail},
	{name: "send", args: "ROOM [MESSAGE]", remote: true, does: "store a message, and print its number in the room",
		doc: `MESSAGE is a text. With "-", each line of standard input is a message. Each is stored once, also if the
connection breaks meanwhile. If send itself ends before it has an answer, call it again with the same
--client-id: what is stored already is not stored again. A message that begins with "-" stands after "--".
Unless you have a token or say who you are, you are the user with the name of your account.`,
		prints: conversation.Message{}, lines: true, setup: send},
	{name: "history", args: "ROOM", remote: true, does: "print messages of a room, the newest last",
		prints: printedMessage{}, lines: true, setup: printHistory},
	{name: "rooms", remote: true, does: "list conversations, for operators; users see their own ones",
		prints: conversation.Room{}, lines: true, setup: listRooms},
	{name: "chat", args: "ROOM", remote: true, does: "talk in a room, in the terminal",
		doc: `Type a line and press Enter to send it. Ctrl-C or Ctrl-D ends the chat.`, setup: chatIn},
}

// printedMessage is the JSON of a message.
type printedMessage struct {
	conversation.Message
	Note bool `json:"note,omitempty"`
}

func tail(c *call) func(context.Context) error {
	o := remote.FollowOptions{Newest: 10, Say: c.say}
	c.flags.BoolVar(&o.All, "all", false, "all conversations")
	c.flags.BoolVar(&o.Notes, "notes", false, "the notes of operators, too; not with --all")
	c.flags.Int64Var(&o.Newest, "limit", o.Newest, "begin with the newest `N` messages of each room; 10 if left out")
	since := c.timeFlag("since", "begin with what was written or changed since this `TIME`, or so long ago, such as 2h", true)
	count := c.flags.Int("count", 0, "end after `N` messages")
	state := c.flags.String("state", "", "go on where the last run with this `FILE` has ended")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		o.Rooms, o.Since = slices.Compact(slices.Sorted(slices.Values(c.args))), *since
		switch {
		case o.All == (len(c.args) > 0):
			return wrongUsage("want the names of rooms, or --all")
		case o.All && o.Notes:
			return wrongUsage("--notes wants the names of rooms: the list of conversations does not tell of notes")
		case *count < 0 || o.Newest < 0:
			return wrongUsage("--count and --limit cannot be negative")
		}
		j, from, err := remote.OpenJournal(*state, c.stdout)
		if err != nil {
			return err
		}
		s, err := c.connect(ctx, true)
		if err != nil {
			return err
		}
		defer s.Close()
		f := s.Follow(o, from)
		defer f.Close()
		for left := *count; *count == 0 || left > 0; {
			const batch = 100
			most := batch
			if *count > 0 {
				most = min(left, batch)
			}
			items, err := f.Next(ctx, most)
			if ctx.Err() != nil {
				return j.Write(nil, f.State())
			}
			if err != nil {
				return errors.Join(err, j.Write(nil, f.State()))
			}
			left -= len(items)
			var text bytes.Buffer
			for i := range items {
				if err := writeMessage(&text, &items[i].Message, items[i].Note, *asJSON); err != nil {
					return err
				}
			}
			if err := j.Write(text.Bytes(), f.State()); err != nil {
				return err
			}
		}
		return nil
	}
}

// writeMessage writes a message on a line: as JSON, or for people.
func writeMessage(w io.Writer, m *conversation.Message, note, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(&printableJSON{w: w}).Encode(printedMessage{*m, note})
	}
	marks := ""
	for _, mark := range []struct {
		set  bool
		text string
	}{{note, " (note)"}, {m.Rev > 0 && !m.Deleted, " (edited)"}} {
		if mark.set {
			marks += mark.text
		}
	}
	author := m.OperatorID
	if author == "" {
		author = m.UserID
	}
	_, err := fmt.Fprintf(w, "%s  %s#%d  %s%s: %s\n", local(m.Timestamp.Time), escaped(m.RoomID), m.Seq, escaped(author), marks, escaped(textOf(m)))
	return err
}

// textOf returns a message as people read it: its text if it has one, and otherwise the JSON.
func textOf(m *conversation.Message) string {
	if m.Deleted {
		return "(deleted)"
	}
	var text string
	if json.Unmarshal(m.Message, &text) == nil && !bytes.Equal(m.Message, []byte("null")) {
		return text
	}
	var content conversation.NoteContent // which has the members of Content that matter here
	if json.Unmarshal(m.Message, &content) != nil || content.Text == "" && len(content.Files) == 0 {
		return string(m.Message)
	}
	parts := []string{}
	if content.Text != "" {
		parts = append(parts, content.Text)
	}
	for _, file := range content.Files {
		parts = append(parts, "["+file.Name+"]")
	}
	return strings.Join(parts, " ")
}

func send(c *call) func(context.Context) error {
	clientID := c.flags.String("client-id", "", "an `ID` that you use once: calling send again with it stores nothing twice. Lines of standard input get ID-1, ID-2 and so on")
	format := c.flags.String("format", "", "the `FORMAT` of the text: md for markdown")
	asJSON := c.flags.Bool("json", false, "MESSAGE, or each line, is JSON; print JSON, too")
	return func(ctx context.Context) error {
		if *format != "" && *format != "md" || *format != "" && *asJSON {
			return wrongUsage("--format: want md, and not with --json")
		}
		if len(c.args) == 1 && isTerminal(c.stdin) {
			return wrongUsage("want a MESSAGE, or - to read messages from standard input: parley send ROOM [MESSAGE]")
		}
		encode := func(text string) (json.RawMessage, error) {
			switch {
			case *asJSON && !json.Valid([]byte(text)):
				return nil, wrongUsage("the message is not JSON")
			case *asJSON:
				return json.RawMessage(text), nil
			case *format != "":
				return json.Marshal(conversation.Content{Text: text, Format: *format})
			}
			return json.Marshal(text)
		}
		room := c.args[0]
		if len(c.args) == 2 && c.args[1] != "-" {
			message, err := encode(c.args[1])
			if err != nil {
				return err
			}
			s, err := c.connect(ctx, false)
			if err != nil {
				return err
			}
			defer s.Close()
			id := *clientID
			if id == "" {
				id = rand.Text()
			}
			return c.sendOne(ctx, s, room, id, message, *asJSON)
		}
		s, err := c.connect(ctx, false)
		if err != nil {
			return err
		}
		defer s.Close()
		lines := readLines(c.stdin)
		for n := 1; ; n++ {
			var line read
			select {
			case line = <-lines:
			case <-ctx.Done():
				return ctx.Err()
			}
			if line.err != nil || line.end {
				return line.err
			}
			message, err := encode(line.text)
			id := rand.Text()
			if *clientID != "" {
				id = fmt.Sprintf("%s-%d", *clientID, n)
			}
			if err == nil {
				err = c.sendOne(ctx, s, room, id, message, *asJSON)
			}
			if err != nil {
				c.say("parley: line %d and those after it were not sent, or their answers are missing", n)
				return err
			}
		}
	}
}

// sendOne sends a message until the server has answered, and prints what is stored.
func (c *call) sendOne(ctx context.Context, s *remote.Session, room, id string, message json.RawMessage, asJSON bool) error {
	stored, err := remote.In(ctx, s, room, conversation.SendMessage, conversation.SendRequest{RoomID: room, ClientID: id, Message: message})
	switch {
	case err != nil:
		return err
	case asJSON:
		return c.printJSON(stored)
	}
	_, err = fmt.Fprintln(c.stdout, stored.Seq)
	return err
}

// read is a line of standard input, or its end.
type read struct {
	text string
	end  bool
	err  error
}

// maxLine is how many bytes a line of standard input has at most. Servers accept much less.
const maxLine = 16 << 20

// readLines reads lines, one ahead. It goes on until the process ends if nobody takes them.
func readLines(r io.Reader) <-chan read {
	lines := make(chan read, 1)
	go func() {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			lines <- read{text: scanner.Text()}
		}
		err := scanner.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = errors.New("a line of standard input is too long")
		}
		lines <- read{end: true, err: err}
	}()
	return lines
}

func printHistory(c *call) func(context.Context) error {
	limit := c.flags.Int("limit", 50, "the newest `N` messages; 50 if left out")
	before := c.flags.Int64("before", 0, "only those before the message with this `SEQ`")
	after := c.flags.Int64("after", 0, "only those after the message with this `SEQ`")
	since := c.timeFlag("since", "only those since this `TIME`, or so long ago, such as 2h", true)
	notes := c.flags.Bool("notes", false, "the notes of operators, instead of the messages")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		if *limit < 1 || *before < 0 || *after < 0 {
			return wrongUsage("--limit, --before and --after must be positive")
		}
		s, err := c.connect(ctx, true)
		if err != nil {
			return err
		}
		defer s.Close()
		var pages [][]conversation.Message // the newest first
		room, left := c.args[0], *limit
		q := conversation.HistoryRequest{RoomID: room, Notes: *notes}
		if *before > 0 {
			q.Before = before
		}
		for more := true; more && left > 0; {
			q.Limit = min(left, 500)
			page, err := remote.In(ctx, s, room, conversation.History, q)
			if err != nil {
				return err
			}
			taken := page.Messages
			for len(taken) > 0 && (taken[0].Seq <= *after || taken[0].Timestamp.Before(*since)) {
				taken = taken[1:]
			}
			more = page.HasMore && len(taken) == len(page.Messages) && len(taken) > 0
			if len(taken) > 0 {
				left -= len(taken)
				pages, q.Before = append(pages, taken), &taken[0].Seq
			}
		}
		w := bufio.NewWriter(c.stdout)
		for _, page := range slices.Backward(pages) {
			for i := range page {
				if err := writeMessage(w, &page[i], *notes, *asJSON); err != nil {
					return err
				}
			}
		}
		return w.Flush()
	}
}

func listRooms(c *call) func(context.Context) error {
	var q conversation.ListRequest
	q.Filter = &conversation.Filter{}
	c.flags.StringVar(&q.Filter.Status, "status", "", "a `STATUS`: open, closed or all; open if left out")
	c.flags.StringVar(&q.Filter.Label, "label", "", "only those with this `LABEL`")
	c.flags.BoolVar(&q.Filter.Waiting, "waiting", false, "only those that wait for an answer")
	c.flags.StringVar(&q.Sort, "sort", "", "the `ORDER`: activity, waiting or created; activity if left out")
	assignee := c.flags.String("assignee", "", "only those of this `OPERATOR`; none: those that nobody has")
	limit := c.flags.Int("limit", 50, "at most `N`; 50 if left out")
	all := c.flags.Bool("all", false, "without a limit")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		if *limit < 1 {
			return wrongUsage("--limit must be positive")
		}
		if *assignee != "" {
			// none is a word of the protocol; an operator is an object
			text, err := json.Marshal(map[string]string{"operatorId": *assignee})
			if *assignee == "none" {
				text, err = json.Marshal(*assignee)
			}
			if err == nil {
				err = json.Unmarshal([]byte(`{"assignee":`+string(text)+`}`), q.Filter)
			}
			if err != nil {
				return err
			}
		}
		s, err := c.connect(ctx, true)
		if err != nil {
			return err
		}
		defer s.Close()
		rows := [][]string{{"ROOM", "STATUS", "OPERATOR", "USER", "WAITING SINCE", "LAST MESSAGE", "SUBJECT"}}
		for left := *limit; *all || left > 0; left -= q.Limit {
			if q.Limit = 100; !*all {
				q.Limit = min(left, 100)
			}
			page, err := remote.Ask(ctx, s, conversation.ListRooms, q)
			if err != nil {
				return err
			}
			for _, room := range page.Rooms {
				if *asJSON {
					err = c.printJSON(room)
				} else {
					rows = append(rows, rowOf(&room))
				}
				if err != nil {
					return err
				}
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if *asJSON {
			return nil
		}
		return c.table(rows...)
	}
}

func rowOf(r *conversation.Room) []string {
	user := r.UserID
	if r.User != nil && r.User.Name != "" {
		user = r.User.Name
	}
	return []string{r.RoomID, string(r.Status), r.OperatorID, user, localOf(r.WaitingSince), local(r.LastAt.Time), r.Subject}
}

func localOf(t *history.Time) string {
	if t == nil {
		return ""
	}
	return local(t.Time)
}
