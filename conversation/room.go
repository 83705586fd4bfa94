package conversation

import (
	"encoding/json"

	"github.com/parley-go/parley/history"
)

// Room is a conversation as lists show it. A room that belongs to nobody has only RoomID, Labels and
// the members about messages.
type Room struct {
	RoomID       string          `json:"roomId"`
	Status       history.Status  `json:"status,omitempty" enum:"open,closed"`
	UserID       string          `json:"userId,omitempty"`
	User         *User           `json:"user,omitempty"`
	OperatorID   string          `json:"operatorId,omitempty" doc:"who has the conversation; absent: nobody"`
	Operator     *OperatorShown  `json:"operator,omitempty"`
	Subject      string          `json:"subject,omitempty"`
	Labels       []string        `json:"labels" doc:"for operators; others get none"`
	Attributes   json.RawMessage `json:"attributes,omitempty" doc:"an object; for operators"`
	LastSeq      int64           `json:"lastSeq" doc:"the room's newest number"`
	LastMessage  *Excerpt        `json:"lastMessage,omitempty"`
	LastAt       history.Time    `json:"lastAt"`
	WaitingSince *history.Time   `json:"waitingSince,omitempty" doc:"the time of the user's first message that nobody has answered"`
	CreatedAt    history.Time    `json:"createdAt"`
	ClosedAt     *history.Time   `json:"closedAt,omitempty"`
	Unread       *int            `json:"unread,omitempty" doc:"messages that the asker has not read; 100 stands for 100 or more. Not in roomChanged"`
	ReadSeq      *int64          `json:"readSeq,omitempty" doc:"the asker's mark. Not in roomChanged"`
	// OperatorsReadSeq and UserReadSeq are what the two sides have read.
	OperatorsReadSeq int64        `json:"operatorsReadSeq" doc:"the highest mark of any operator"`
	UserReadSeq      int64        `json:"userReadSeq" doc:"the user's mark"`
	Page             *VisitedPage `json:"page,omitempty" doc:"where the visitor is now; not stored"`
	Change           int64        `json:"change" doc:"for operators: the number of the last change among all conversations"`
}

// User is the user of a conversation.
type User struct {
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
	Verified bool   `json:"verified" doc:"name and address come from a signed token"`
	Online   bool   `json:"online"`
}

// OperatorShown is the operator of a conversation.
type OperatorShown struct {
	Name   string `json:"name"`
	Online bool   `json:"online"`
}

// Excerpt is the beginning of a message.
type Excerpt struct {
	Seq       int64        `json:"seq"`
	By        string       `json:"by" enum:"user,operator"`
	Name      string       `json:"name,omitempty"`
	Text      string       `json:"excerpt" doc:"one line of at most 140 characters"`
	Timestamp history.Time `json:"timestamp"`
	File      string       `json:"file,omitempty" doc:"the name of the first file"`
	Deleted   bool         `json:"deleted,omitempty"`
}

// VisitedPage is a page of the site.
type VisitedPage struct {
	URL      string `json:"url" doc:"at most 2,000 bytes"`
	Title    string `json:"title,omitempty" doc:"at most 200 bytes"`
	Referrer string `json:"referrer,omitempty" doc:"at most 2,000 bytes"`
}

// RoomRequest names a room.
type RoomRequest struct {
	RoomID string `json:"roomId"`
}

// StartRequest begins a conversation.
type StartRequest struct {
	Subject    string          `json:"subject,omitempty" doc:"at most 200 bytes"`
	Message    json.RawMessage `json:"message,omitempty" doc:"the first message, stored in the same commit"`
	ClientID   string          `json:"clientId,omitempty" doc:"of the message"`
	Attributes json.RawMessage `json:"attributes,omitempty" doc:"an object of at most 4 KiB"`
	Page       *VisitedPage    `json:"page,omitempty"`
}

// Started is the answer to StartConversation.
type Started struct {
	Room
	Message  *Message `json:"message,omitempty" doc:"the stored first message"`
	Existing bool     `json:"existing,omitempty" doc:"the user has as many open conversations as allowed; this is the newest"`
}

// Filter selects conversations.
type Filter struct {
	Status   string          `json:"status,omitempty" enum:"open,closed,all" doc:"open if absent"`
	Assignee json.RawMessage `json:"assignee,omitempty" ts:"'me' | 'none' | 'others' | 'any' | { operatorId: string }"`
	Waiting  bool            `json:"waiting,omitempty" doc:"only those that wait"`
	Unread   bool            `json:"unread,omitempty" doc:"only those with messages that the asker has not read"`
	Label    string          `json:"label,omitempty"`
	UserID   string          `json:"userId,omitempty"`
}

// ListRequest asks for a page of the list of conversations.
type ListRequest struct {
	Filter *Filter `json:"filter,omitempty"`
	Sort   string  `json:"sort,omitempty" enum:"activity,waiting,created" doc:"activity if absent; waiting: the longest first"`
	Limit  int     `json:"limit,omitempty" doc:"conversations of the page, at most 100"`
	Cursor string  `json:"cursor,omitempty" doc:"next of the page before, which was asked for with the same filter and order"`
}

// RoomList is a page of the list.
type RoomList struct {
	Rooms  []Room              `json:"rooms"`
	Next   string              `json:"next,omitempty" doc:"the cursor of the next page"`
	Counts *history.RoomCounts `json:"counts,omitempty" doc:"operators: with the first page"`
}

// WatchRequest joins the lobby.
type WatchRequest struct {
	After  *int64  `json:"after,omitempty" doc:"the position that the client has"`
	Epoch  string  `json:"epoch,omitempty" doc:"of the position"`
	Filter *Filter `json:"filter,omitempty" doc:"of the first page"`
	Sort   string  `json:"sort,omitempty" enum:"activity,waiting,created"`
	Limit  int     `json:"limit,omitempty" doc:"conversations of the first page, at most 100"`
}

// Watched is the answer to WatchRooms.
type Watched struct {
	Rooms     []Room              `json:"rooms" doc:"with after: the conversations that have changed since, as many as fit, and the others follow as roomChanged; otherwise the first page"`
	Position  int64               `json:"position"`
	Epoch     string              `json:"epoch"`
	Reset     bool                `json:"reset,omitempty" doc:"drop what you have: the server cannot go on from after, and this is the first page"`
	Next      string              `json:"next,omitempty" doc:"the cursor of the next page, for listRooms"`
	Counts    *history.RoomCounts `json:"counts,omitempty" doc:"of operators who may read all conversations"`
	Operators []OperatorPresence  `json:"operators"`
}

// OperatorPresence is an operator as colleagues see it.
type OperatorPresence struct {
	OperatorID string   `json:"operatorId"`
	Name       string   `json:"name"`
	Status     string   `json:"status" enum:"online,away,offline"`
	Viewing    []string `json:"viewing,omitempty" doc:"rooms that the operator is in"`
	Open       int      `json:"open" doc:"conversations that the operator has"`
}

// StatusRequest sets the status of the operator that asks.
type StatusRequest struct {
	Status string `json:"status" enum:"online,away"`
}

// TransferRequest gives a conversation to an operator, or to nobody.
type TransferRequest struct {
	RoomID     string `json:"roomId"`
	OperatorID Holder `json:"operatorId" ts:"string | null" doc:"null: to nobody"`
	From       Holder `json:"from,omitzero" ts:"string | null" doc:"the operator that the sender believes has it, null for nobody; compared if present"`
	Note       string `json:"note,omitempty" doc:"at most 2,000 bytes"`
}

// Holder is who has a conversation, or is to have it. The zero value says nothing.
type Holder struct {
	Given      bool
	OperatorID string // empty: nobody
}

// IsZero makes the JSON member absent.
func (h Holder) IsZero() bool { return !h.Given }

// MarshalJSON implements [json.Marshaler].
func (h Holder) MarshalJSON() ([]byte, error) {
	if h.OperatorID == "" {
		return []byte("null"), nil
	}
	return json.Marshal(h.OperatorID)
}

// UnmarshalJSON implements [json.Unmarshaler]. It accepts a string or null.
func (h *Holder) UnmarshalJSON(data []byte) error {
	*h = Holder{Given: true}
	return json.Unmarshal(data, &h.OperatorID)
}

// CloseRequest closes a conversation.
type CloseRequest struct {
	RoomID string `json:"roomId"`
	Note   string `json:"note,omitempty" doc:"of an operator; at most 2,000 bytes"`
}

// UpdateRequest changes what a conversation is about.
type UpdateRequest struct {
	RoomID       string          `json:"roomId"`
	Subject      *string         `json:"subject,omitempty" doc:"at most 200 bytes"`
	AddLabels    []string        `json:"addLabels,omitempty" doc:"of at most 40 bytes; a conversation has at most 20"`
	RemoveLabels []string        `json:"removeLabels,omitempty"`
	Attributes   json.RawMessage `json:"attributes,omitempty" doc:"a merge patch of an object of at most 4 KiB: null deletes a member"`
}

// RoomNews says that a conversation has changed.
type RoomNews struct {
	Room     Room   `json:"room"`
	Position *int64 `json:"position,omitempty" doc:"in the lobby: the change up to which the client now lacks nothing"`
}

// OwnRoomNews says to the user of a conversation that it has changed.
type OwnRoomNews struct {
	Room OwnRoom `json:"room"`
}

// OwnRoom is what the user of a conversation learns of changes.
type OwnRoom struct {
	RoomID   string         `json:"roomId"`
	Status   history.Status `json:"status" enum:"open,closed"`
	Operator *OperatorShown `json:"operator,omitempty" doc:"absent: nobody has the conversation"`
	Subject  string         `json:"subject,omitempty"`
}

// RoomLoss says that a conversation was erased or pruned away.
type RoomLoss struct {
	RoomID   string `json:"roomId"`
	Position *int64 `json:"position,omitempty"`
}

// VisitorNews says where a visitor is.
type VisitorNews struct {
	UserID string       `json:"userId"`
	Page   *VisitedPage `json:"page,omitempty"`
	Online bool         `json:"online"`
}

// Empty has no members.
type Empty struct{}
