package chat

import (
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// maxText is the length of the text of a note, in characters.
const maxText = 10_000

// AddNote adds a note to a conversation. Its user never sees it.
func (c *Client) AddNote(ctx context.Context, q conversation.NoteRequest) (history.Message, error) {
	none := history.Message{}
	st, err := c.in(ctx, q.RoomID)
	if err != nil {
		return none, err
	}
	if err := c.mayIn(st, string(conversation.AddNote)); err != nil {
		return none, err
	}
	if err := st.operator(); err != nil {
		return none, err
	}
	if q.Message, err = c.service.content(q.Message); err != nil {
		return none, err
	}
	if err := checkNote(q.Message); err != nil {
		return none, err
	}
	if err := checkText("clientId", q.ClientID, history.MaxClientID); err != nil {
		return none, err
	}
	stored, err := c.append(ctx, history.Draft{
		RoomID: history.NotesRoom(q.RoomID), OperatorID: st.who.OperatorID, ClientID: q.ClientID, Message: q.Message,
	}, false)
	stored.RoomID = q.RoomID
	return stored, err
}

// checkNote refuses what cannot be a note that an operator writes. Above all, that is what only the
// service writes: what somebody did.
func checkNote(content json.RawMessage) error {
	var members map[string]json.RawMessage
	if json.Unmarshal(content, &members) != nil {
		return Refuse(BadPayload, "a note must be an object")
	}
	for name := range members {
		switch name {
		case "text", "format", "files", "mentions":
		default:
			return Refuse(BadPayload, "a note cannot have a member %.100q", name)
		}
	}
	var note conversation.NoteContent
	if json.Unmarshal(content, &note) != nil || note.Text == "" && len(note.Files) == 0 || utf8.RuneCountInString(note.Text) > maxText {
		return Refuse(BadPayload, "a note must have a text of at most %d characters, or files", maxText)
	}
	return nil
}
