package history

import (
	"context"
	"encoding/json"
)

// Status says whether a conversation goes on. A room that belongs to nobody has none.
type Status string

// The statuses of a conversation.
const (
	Open   Status = "open"
	Closed Status = "closed"
)

// Limits of a room's own data.
const (
	MaxSubject    = 200     // bytes
	MaxLabels     = 20      // labels of a room
	MaxLabel      = 40      // bytes of a label
	MaxAttributes = 4 << 10 // bytes of a room's or a person's attributes, as compact JSON
)

// A Room is the state of a room beside its messages. A room that has a UserID is a conversation of
// that user. Other rooms have neither status nor operator, and do not appear in lists.
type Room struct {
	RoomID     string
	UserID     string
	OperatorID string // who has the conversation; empty: nobody
	Status     Status
	Subject    string
	Labels     []string        // sorted, without duplicates
	Attributes json.RawMessage // a JSON object, or nil
	Head       int64           // the newest number
	Floor      int64           // the largest number that was pruned
	LastAt     Time            // of the newest message; of a conversation without messages, CreatedAt
	CreatedAt  Time            // zero: not a conversation
	ClosedAt   Time            // zero: open
	// WaitingSince is the time of the first message of the user that nobody has answered; zero if
	// there is none. A user's message sets it unless it is set. A message of an operator, closing,
	// and RoomUpdate.Answered clear it.
	WaitingSince Time
	// Change is the number of the last change of the conversation among the changes of all
	// conversations: of its messages, of everything above, and of the user's name and address.
	Change int64

	// User has the name, the address and Verified of the user's Person; nil if the store does not know
	// the user. Stores read it together with the room, so that a list costs no query for each room.
	User *Person
	Last *Message // the newest message that is not deleted; nil: none
	// What the member that asked has read and has not; see Reads.
	ReadSeq int64
	Unread  int
	// What others have read: the highest mark of any operator, and the mark of the user.
	OperatorsReadSeq, UserReadSeq int64
}

// A Conversation makes a room that does not exist yet the conversation of a user, in the commit of
// its first message. See Draft.Conversation.
type Conversation struct {
	UserID     string
	Subject    string
	Labels     []string
	Attributes json.RawMessage // a JSON object, or nil
	// Name and Email describe the user; Verified says that a signed token says so. They are stored
	// as a Person in the same commit. They do not replace what a signed token has said, unless one
	// says them as well.
	Name, Email string
	Verified    bool
}

// Rooms is the capability of a store to keep conversations. Updates, and messages of conversations,
// take the next number of one counter of changes for all conversations, in the order of commits: if
// a change is visible, all smaller ones are.
type Rooms interface {
	// Room returns a room as seen by a member, who may be the zero Member. If the room does not
	// exist, the error is ErrNotFound.
	Room(ctx context.Context, room string, by Member) (Room, error)
	// ListRooms returns a page of the conversations that match q. The work for a page is bounded: if
	// few conversations match, a page may have less than Limit of them, or none, and still a Next.
	ListRooms(ctx context.Context, q RoomQuery) (RoomList, error)
	// ChangedRooms returns the conversations whose last change is larger than after, in the order of
	// these changes, each once and as it is now. Limit is at most MaxLimit. Next is the change up to
	// which the result is complete; Head the newest change. If conversations were erased since, the
	// error is ErrPruned: load the list anew.
	ChangedRooms(ctx context.Context, after int64, limit int, by Member) (ChangedRooms, error)
	// CountRooms counts open conversations, up to MaxCount of each kind. For a user, it counts only
	// those of the user.
	CountRooms(ctx context.Context, by Member) (RoomCounts, error)
	// CreateRoom makes a conversation that has no messages yet. If the room exists, the error is
	// ErrConflict, with the room as it is. See [CheckConversation] for its id.
	CreateRoom(ctx context.Context, room string, c Conversation) (Room, error)
	// UpdateRoom changes a conversation, and appends to its log of notes in the same commit. If the
	// conversation already is so, nothing changes, whatever the conditions say: so you may repeat an
	// update. Otherwise, if a condition does not hold, nothing changes, and the error is ErrConflict,
	// with the room as it is. If the room is no conversation, the error is ErrNotFound.
	UpdateRoom(ctx context.Context, u RoomUpdate) (Updated, error)
}

// MaxCount is where counting conversations ends. A larger number is not known.
const MaxCount = 1000

// RoomUpdate is a change of a conversation. Pointers that are nil leave a thing as it is.
type RoomUpdate struct {
	RoomID string

	// Conditions.
	IfOperator *string // the operator that the conversation must have; "" is nobody
	IfStatus   Status  // "" is any
	IfChange   int64   // 0 is any

	Status       *Status
	OperatorID   *string // "" is nobody
	UserID       *string // who owns it from now on
	Subject      *string
	AddLabels    []string
	RemoveLabels []string        // a label that is in both goes
	Attributes   json.RawMessage // a merge patch (RFC 7396) of the attributes
	Answered     bool            // clears WaitingSince

	// Note, if not nil, is appended to another room in the same commit; see [NotesRoom]. If it cannot
	// be, nothing changes. If nothing else changes because the room is already so, nothing is
	// appended.
	Note *Draft
}

// Updated is the outcome of an update.
type Updated struct {
	Room    Room
	Changed bool     // false: the room was already so
	Note    *Message // the stored note; nil if none was
}

// Assignee selects conversations by their operator.
type Assignee struct {
	Kind       AssigneeKind
	OperatorID string // of AssignedTo and AssignedToOthers
}

// AssigneeKind says what Assignee selects.
type AssigneeKind int

// The kinds of Assignee.
const (
	AnyAssignee AssigneeKind = iota
	NoAssignee
	AssignedTo       // to this operator
	AssignedToOthers // to somebody, but not to this operator
)

// RoomSort is the order of a list of conversations.
type RoomSort string

// The orders of lists. Of rooms with equal keys, the order of creation decides in the same direction.
const (
	ByActivity RoomSort = "activity" // the newest message first; the default
	ByWaiting  RoomSort = "waiting"  // those that wait, the longest first; then the others by activity
	ByCreated  RoomSort = "created"  // the newest first
)

// RoomQuery selects conversations.
type RoomQuery struct {
	Status   Status // "" is any
	Assignee Assignee
	Waiting  bool // only those that wait
	Unread   bool // only those with messages that By has not read
	Label    string
	UserID   string
	Sort     RoomSort
	Limit    int    // if zero, DefaultLimit; at most MaxLimit
	Cursor   string // RoomList.Next of the same query; otherwise the error is ErrBadPage
	By       Member // who asks
}

// RoomList is a page of a list of conversations.
type RoomList struct {
	Rooms []Room
	Next  string // the cursor of the next page; empty if this is the last one
	Head  int64  // the newest change of all conversations, at the same moment
}

// ChangedRooms is a part of the order of changes.
type ChangedRooms struct {
	Rooms []Room
	Next  int64 // everything up to this change is in Rooms
	Head  int64 // the newest change
}

// RoomCounts are numbers of open conversations.
type RoomCounts struct {
	Open       int `json:"open"`
	Waiting    int `json:"waiting"`
	Unassigned int `json:"unassigned"`
	Mine       int `json:"mine"` // of the operator that asked
}

// A Person is a user who has written, or whom a signed token or a program has described.
type Person struct {
	UserID     string
	Name       string
	Email      string
	Attributes json.RawMessage // a JSON object, or nil
	Verified   bool            // name and address come from a signed token
	Became     string          // the user into whom this visitor was merged
	CreatedAt  Time
	SeenAt     Time
}

// People is the capability of a store to know users.
type People interface {
	// Person returns a user. If the store does not know it, the error is ErrNotFound.
	Person(ctx context.Context, userID string) (Person, error)
	// PutPerson stores what p says: empty members leave a thing as it is, Attributes is a merge patch
	// (RFC 7396), SeenAt never goes back. Became and CreatedAt are ignored. It creates the person if
	// necessary. If the name, the address or Verified changes, that is a change of each conversation
	// of the user.
	PutPerson(ctx context.Context, p Person) (Person, error)
	// Merge makes the conversations of a visitor those of a user, in one commit, and appends note to
	// the notes of each, if note is not nil and returns a draft. It returns their rooms. Repeating it
	// does nothing. If the visitor was merged into somebody else or is verified, or if the user was
	// merged itself, the error is ErrConflict. What the visitor has read, the user has read.
	//
	// It records that they are one even if neither has a conversation: the visitor may have written in
	// free rooms, and an erasure of the user must find that.
	//
	// Messages keep the visitor's id as their author: whether a message is a user's own must be
	// decided by Identities. If the user repeats the append of a message that it has sent as the
	// visitor, with the same client id, the store finds the original.
	Merge(ctx context.Context, visitor, user string, note func(room string) *Draft) ([]Updated, error)
	// Identities returns all ids of a user: its own first, and those of the visitors that it was,
	// sorted.
	Identities(ctx context.Context, userID string) ([]string, error)
}
