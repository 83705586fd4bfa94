package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/remote"
)

var deskCommands = []command{
	{name: "note", args: "ROOM TEXT", remote: true, does: "add a note to a conversation, which only operators see",
		prints: conversation.Message{}, setup: addNote},
	{name: "assign", args: "ROOM OPERATOR", remote: true, does: "give a conversation to an operator, or to nobody",
		doc:    `OPERATOR is an id, or the word nobody.`,
		prints: conversation.Room{}, setup: assign},
	{name: "close", args: "ROOM", remote: true, does: "close a conversation", prints: conversation.Room{},
		setup: func(c *call) func(context.Context) error {
			note := c.flags.String("note", "", "a note of this `TEXT` for other operators")
			return changeRoom(c, conversation.CloseRoom, func(room string) conversation.CloseRequest {
				return conversation.CloseRequest{RoomID: room, Note: *note}
			})
		}},
	{name: "reopen", args: "ROOM", remote: true, does: "open a closed conversation", prints: conversation.Room{},
		setup: func(c *call) func(context.Context) error {
			return changeRoom(c, conversation.ReopenRoom, func(room string) conversation.RoomRequest {
				return conversation.RoomRequest{RoomID: room}
			})
		}},
	{name: "label", args: "ROOM [LABEL…]", remote: true, does: "add labels to a conversation, or remove some",
		prints: conversation.Room{}, setup: label},
	{name: "search", args: "QUERY", remote: true, does: "find messages by their words, the newest first",
		doc:    `Each word of QUERY has to be there; the last one may be the beginning of a word.`,
		prints: conversation.Hit{}, lines: true, setup: search},
	{name: "status", remote: true, does: "count the conversations that are open and that wait, and check how long",
		doc: `With --max-wait it exits with 1 if a conversation has waited longer.`, prints: deskStatus{}, setup: showStatus},
}

// changeRoom is a command that changes the conversation that its first argument names.
func changeRoom[Q any](c *call, e event.RPC[Q, conversation.Room], request func(room string) Q) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		s, err := c.connect(ctx, true)
		if err != nil {
			return err
		}
		defer s.Close()
		room, err := remote.Ask(ctx, s, e, request(c.args[0]))
		if err == nil && *asJSON {
			err = c.printJSON(room)
		}
		return err
	}
}

func addNote(c *call) func(context.Context) error {
	clientID := c.flags.String("client-id", "", "an `ID` that you use once: calling note again with it adds no second one")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		s, err := c.connect(ctx, true)
		if err != nil {
			return err
		}
		defer s.Close()
		id := *clientID
		if id == "" {
			id = rand.Text()
		}
		content, err := json.Marshal(conversation.NoteContent{Text: c.args[1]})
		if err != nil {
			return err
		}
		note, err := remote.Ask(ctx, s, conversation.AddNote, conversation.NoteRequest{RoomID: c.args[0], ClientID: id, Message: content})
		if err == nil && *asJSON {
			err = c.printJSON(note)
		}
		return err
	}
}

func assign(c *call) func(context.Context) error {
	from := c.flags.String("if-from", "", "only if this `OPERATOR`, or nobody, has it")
	return changeRoom(c, conversation.TransferRoom, func(room string) conversation.TransferRequest {
		q := conversation.TransferRequest{RoomID: room, OperatorID: holder(c.args[1])}
		if *from != "" {
			q.From = holder(*from)
		}
		return q
	})
}

// holder is an operator, or nobody.
func holder(name string) conversation.Holder {
	if name == "nobody" {
		name = ""
	}
	return conversation.Holder{Given: true, OperatorID: name}
}

func label(c *call) func(context.Context) error {
	var remove []string
	c.flags.Func("remove", "remove this `LABEL`; may be repeated", func(s string) error {
		remove = append(remove, s)
		return nil
	})
	change := changeRoom(c, conversation.UpdateRoom, func(room string) conversation.UpdateRequest {
		return conversation.UpdateRequest{RoomID: room, AddLabels: c.args[1:], RemoveLabels: remove}
	})
	return func(ctx context.Context) error {
		if len(c.args) == 1 && remove == nil {
			return wrongUsage("want a LABEL, or --remove LABEL")
		}
		return change(ctx)
	}
}

func search(c *call) func(context.Context) error {
	room := c.flags.String("room", "", "only in the room with this `ID`")
	since := c.timeFlag("since", "only what was written since this `TIME`, or so long ago, such as 24h", true)
	notes := c.flags.Bool("notes", false, "in the notes of operators, too")
	limit := c.flags.Int("limit", 50, "at most `N`; 50 if left out")
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		if *limit < 1 {
			return wrongUsage("--limit must be positive")
		}
		q := conversation.SearchRequest{Query: c.args[0], RoomID: *room, Notes: *notes}
		if !since.IsZero() {
			q.Since = &history.Time{Time: *since}
		}
		s, err := c.connect(ctx, true)
		if err != nil {
			return err
		}
		defer s.Close()
		for left := *limit; left > 0; {
			q.Limit = min(left, 100)
			found, err := remote.Ask(ctx, s, conversation.Search, q)
			if err != nil {
				return err
			}
			for _, hit := range found.Hits {
				if *asJSON {
					err = c.printJSON(hit)
				} else {
					_, err = fmt.Fprintf(c.stdout, "%s  %s#%d  %s\n", local(hit.Timestamp.Time), escaped(hit.RoomID), hit.Seq, escaped(hit.Excerpt))
				}
				if err != nil {
					return err
				}
			}
			if !found.Complete {
				c.say("The index is being built: there may be more.")
			}
			if left -= len(found.Hits); found.Next == "" {
				break
			}
			q.Cursor = found.Next
		}
		return nil
	}
}

// deskStatus is what status prints.
type deskStatus struct {
	Open       int64         `json:"open"`
	Waiting    int64         `json:"waiting"`
	Unassigned int64         `json:"unassigned"`
	Oldest     *history.Time `json:"waitingSince,omitempty"`
}

func showStatus(c *call) func(context.Context) error {
	var most time.Duration
	c.flags.Func("max-wait", "how long a conversation may wait, a `DURATION`", func(s string) (err error) {
		most, err = parseDuration(s)
		return err
	})
	asJSON := c.jsonFlag()
	return func(ctx context.Context) error {
		s, err := c.connect(ctx, true)
		if err != nil {
			return err
		}
		defer s.Close()
		page, err := remote.Ask(ctx, s, conversation.ListRooms, conversation.ListRequest{
			Filter: &conversation.Filter{Waiting: true}, Sort: "waiting", Limit: 1,
		})
		if err != nil {
			return err
		}
		var now deskStatus
		if n := page.Counts; n != nil {
			now = deskStatus{Open: int64(n.Open), Waiting: int64(n.Waiting), Unassigned: int64(n.Unassigned)}
		}
		if len(page.Rooms) > 0 {
			now.Oldest = page.Rooms[0].WaitingSince
		}
		if *asJSON {
			err = c.printJSON(now)
		} else {
			err = c.table([]string{"OPEN", "WAITING", "UNASSIGNED", "WAITING SINCE"},
				[]string{fmt.Sprint(now.Open), fmt.Sprint(now.Waiting), fmt.Sprint(now.Unassigned), localOf(now.Oldest)})
		}
		if err == nil && most > 0 && now.Oldest != nil && time.Since(now.Oldest.Time) > most {
			c.say("A conversation has waited for more than %v.", most)
			return errFindings
		}
		return err
	}
}
