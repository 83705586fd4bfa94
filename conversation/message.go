package conversation

import (
	"encoding/json"

	"github.com/parley-go/parley/history"
)

// Message is a stored message.
type Message = history.Message

// Messages are stored messages.
type Messages []Message

// MarshalJSON implements [json.Marshaler]. It is faster than encoding/json, which would look at each
// member of each message.
func (m Messages) MarshalJSON() ([]byte, error) {
	size := 2
	for i := range m {
		size += m[i].Size()
	}
	dst := append(make([]byte, 0, size), '[')
	for i := range m {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m[i].AppendJSON(dst)
	}
	return append(dst, ']'), nil
}

// JoinRequest joins a room.
type JoinRequest struct {
	RoomID     string `json:"roomId"`
	UserID     string `json:"userId,omitempty" doc:"who the client says it is, in open mode"`
	OperatorID string `json:"operatorId,omitempty" doc:"who the client says it is, in open mode"`
	Name       string `json:"name,omitempty" doc:"for people"`
	After      *int64 `json:"after,omitempty" doc:"lastSeq of what the client has: only changes since are sent"`
	Epoch      string `json:"epoch,omitempty" doc:"of after"`
	Limit      int    `json:"limit,omitempty" doc:"messages of the page"`
	Notes      bool   `json:"notes,omitempty" doc:"operators: join the notes as well"`
	NotesAfter *int64 `json:"notesAfter,omitempty" doc:"the same as after, for the notes"`
}

// Joined is the answer to JoinRoom.
type Joined struct {
	Page
	Reset   bool      `json:"reset,omitempty" doc:"the server could not continue from after"`
	Member  Member    `json:"member" doc:"the client itself"`
	Members []Member  `json:"members" doc:"those that are shown, in the order of joining"`
	Count   int       `json:"count" doc:"of all members; for the user of a conversation, of those that it sees"`
	Room    *Room     `json:"room,omitempty" doc:"of a conversation"`
	Read    *ReadSeqs `json:"read,omitempty" doc:"of a conversation"`
	Notes   *Page     `json:"notes,omitempty" doc:"the notes, with which newNote continues without a gap"`
}

// ReadSeqs says how far both sides have read.
type ReadSeqs struct {
	Operators int64 `json:"operators"`
	User      int64 `json:"user"`
}

// Member is a connection in a room.
type Member struct {
	ID         string `json:"id" doc:"the id by which others know the connection"`
	UserID     string `json:"userId,omitempty"`
	OperatorID string `json:"operatorId,omitempty"`
	Name       string `json:"name,omitempty"`
}

// Page is a part of a room's history.
type Page struct {
	RoomID        string            `json:"roomId"`
	Messages      Messages          `json:"messages" ts:"Message[]" doc:"ascending by seq; after an absence, ascending by the number of their last change"`
	HasMore       bool              `json:"hasMore" doc:"there are more in the direction that was asked for"`
	HasBefore     bool              `json:"hasBefore" doc:"there are older ones"`
	HasAfter      bool              `json:"hasAfter" doc:"there are newer ones"`
	LastSeq       int64             `json:"lastSeq" doc:"the newest number that the page covers"`
	Epoch         string            `json:"epoch" doc:"of lastSeq"`
	OperatorNames map[string]string `json:"operatorNames,omitempty" doc:"the names of the operators who wrote these messages, by their ids, as far as the server knows them"`
}

// SendRequest sends a message.
type SendRequest struct {
	RoomID     string          `json:"roomId"`
	UserID     string          `json:"userId,omitempty" doc:"who the client says it is, or for operators the user whose conversation it is"`
	OperatorID string          `json:"operatorId,omitempty" doc:"who the client says it is, in open mode"`
	ClientID   string          `json:"clientId,omitempty" doc:"the sender's own random id; a message is stored once however often it is sent"`
	Message    json.RawMessage `json:"message" doc:"any JSON; see Content for what the pages write"`
}

// EditRequest changes a message.
type EditRequest struct {
	RoomID  string          `json:"roomId"`
	Seq     int64           `json:"seq"`
	Message json.RawMessage `json:"message" doc:"the new content, any JSON"`
	IfRev   int64           `json:"ifRev,omitempty" doc:"the message's rev, or its seq if it was never changed; otherwise conflict"`
}

// DeleteRequest makes a message a tombstone.
type DeleteRequest struct {
	RoomID string `json:"roomId"`
	Seq    int64  `json:"seq"`
	IfRev  int64  `json:"ifRev,omitempty" doc:"as in EditRequest"`
}

// HistoryRequest asks for a page: around, before or after a seq, or the newest one.
type HistoryRequest struct {
	RoomID string `json:"roomId"`
	Before *int64 `json:"before,omitempty" doc:"the last messages with a smaller seq"`
	After  *int64 `json:"after,omitempty" doc:"the first messages that have changed after this number; 0: from the beginning"`
	Around *int64 `json:"around,omitempty" doc:"the messages before and after this seq"`
	Limit  int    `json:"limit,omitempty" doc:"messages of the page"`
	Notes  bool   `json:"notes,omitempty" doc:"operators: of the notes"`
}

// MarkRequest sets a mark.
type MarkRequest struct {
	RoomID string `json:"roomId"`
	Seq    int64  `json:"seq" doc:"of the last message that was read; of markUnread, the first one that was not"`
}

// Marked is the answer to MarkRead and MarkUnread.
type Marked struct {
	RoomID string `json:"roomId"`
	Seq    int64  `json:"seq" doc:"the mark now"`
	Unread int    `json:"unread" doc:"100 stands for 100 or more"`
}

// TypingRequest says whether the client types.
type TypingRequest struct {
	RoomID string `json:"roomId"`
	Typing *bool  `json:"typing,omitempty" doc:"true if absent"`
	Text   string `json:"text,omitempty" doc:"what is being typed, at most 500 characters, if settings.preview"`
}

// NoteRequest adds a note.
type NoteRequest struct {
	RoomID   string          `json:"roomId"`
	Message  json.RawMessage `json:"message" ts:"NoteContent" doc:"with text or files, and no other members than these, format and mentions: the rest is for what the server writes"`
	ClientID string          `json:"clientId,omitempty" doc:"the sender's own random id, as in sendMessage"`
}

// SearchRequest finds messages.
type SearchRequest struct {
	Query      string        `json:"query" doc:"words, of which the last may be a beginning; at most 200 bytes"`
	RoomID     string        `json:"roomId,omitempty" doc:"only in this room"`
	UserID     string        `json:"userId,omitempty" doc:"operators: in conversations of this user"`
	OperatorID string        `json:"operatorId,omitempty" doc:"operators: written by this operator"`
	Since      *history.Time `json:"since,omitempty" doc:"from this time on"`
	Until      *history.Time `json:"until,omitempty" doc:"up to this time"`
	Notes      bool          `json:"notes,omitempty" doc:"operators: in notes as well"`
	Limit      int           `json:"limit,omitempty" doc:"hits of the page"`
	Cursor     string        `json:"cursor,omitempty" doc:"next of the page before, of the same search"`
}

// Found is the answer to Search.
type Found struct {
	Hits     []Hit  `json:"hits"`
	Next     string `json:"next,omitempty" doc:"the cursor of the next page"`
	Complete bool   `json:"complete" doc:"false while the index is being built"`
}

// Hit is a message that was found.
type Hit struct {
	RoomID    string       `json:"roomId"`
	Seq       int64        `json:"seq"`
	Timestamp history.Time `json:"timestamp"`
	By        string       `json:"by" enum:"user,operator"`
	Note      bool         `json:"note,omitempty" doc:"it is a note"`
	Excerpt   string       `json:"excerpt"`
	Marks     [][2]int     `json:"marks" doc:"from and to of each match in excerpt, in UTF-16 code units"`
}

// ReadNews says that a side has read.
type ReadNews struct {
	RoomID string `json:"roomId"`
	Seq    int64  `json:"seq" doc:"everything up to it was read"`
	By     string `json:"by" enum:"user,operators"`
	// OperatorID is known to operators only.
	OperatorID string `json:"operatorId,omitempty" doc:"operators: who"`
}

// TypingNews says that a member types or has stopped.
type TypingNews struct {
	RoomID     string `json:"roomId"`
	UserID     string `json:"userId,omitempty"`
	OperatorID string `json:"operatorId,omitempty"`
	Name       string `json:"name,omitempty"`
	Typing     bool   `json:"typing"`
	Text       string `json:"text,omitempty" doc:"operators: what is being typed"`
}

// PresenceNews says that the members of a room have changed.
type PresenceNews struct {
	RoomID string  `json:"roomId"`
	Type   string  `json:"type" enum:"join,leave,count" doc:"join: the member is new or has changed; leave: it is gone; count: only the number has changed"`
	Member *Member `json:"member,omitempty" doc:"absent if only the number has changed"`
	Count  int     `json:"count,omitempty" doc:"of all members; the user of a conversation does not learn it"`
}

// Content is what the pages write as a message, and how they understand one: a string, or this
// object. Other programs may write any JSON.
type Content struct {
	Text    string    `json:"text,omitempty" doc:"at most 10,000 characters"`
	Format  string    `json:"format,omitempty" enum:"md"`
	Name    string    `json:"name,omitempty"`
	Files   []FileRef `json:"files,omitempty" doc:"at most 10"`
	ReplyTo *ReplyTo  `json:"replyTo,omitempty"`
	Choices []string  `json:"choices,omitempty" doc:"at most 6 of at most 60 characters: buttons that send their text"`
	Auto    string    `json:"auto,omitempty" enum:"greeting,away,bot"`
}

// ReplyTo quotes a message.
type ReplyTo struct {
	Seq     int64  `json:"seq"`
	Excerpt string `json:"excerpt" doc:"at most 120 characters"`
}

// FileRef is a file of a message.
type FileRef struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
	Blur   string `json:"blur,omitempty" doc:"4 by 3 colors of 3 hexadecimal digits each"`
}

// NoteContent is the message of a note: of a text that an operator wrote, or of what was done.
type NoteContent struct {
	Text     string    `json:"text,omitempty"`
	Format   string    `json:"format,omitempty" enum:"md"`
	Files    []FileRef `json:"files,omitempty"`
	Mentions []string  `json:"mentions,omitempty" doc:"operatorIds"`
	Event    string    `json:"event,omitempty" enum:"claimed,transferred,closed,reopened,answered,updated,labelled,merged,banned,edited,deleted" doc:"what was done; then the author is who did it"`
	From     string    `json:"from,omitempty"`
	To       string    `json:"to,omitempty"`
	Note     string    `json:"note,omitempty"`
	Seq      int64     `json:"seq,omitempty" doc:"of the message that was changed"`
	Added    []string  `json:"added,omitempty" doc:"labels"`
	Removed  []string  `json:"removed,omitempty" doc:"labels"`
}
