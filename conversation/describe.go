package conversation

import (
	"slices"
	"strings"

	"github.com/parley-go/parley/auth"
)

// Refused are the codes with which every event from a client may be refused.
var Refused = []Code{BadPayload, Forbidden, TokenExpired, Banned, RateLimited, Unavailable, Internal}

// A Description says for people what an event does, or when it is sent, and with which codes beside
// Refused the server refuses it.
type Description struct {
	Does  string
	Codes []Code
}

var descriptions = map[any]Description{
	Hello:             {Does: "says who the client is, and tells the server about it"},
	StartConversation: {"starts a conversation, or returns the one that is open. Without a message, nothing is stored, and only its user knows of it, until the user joins it and sends the first one, however much later", []Code{TooLarge, KeyReuse, UnknownOutcome}},
	JoinRoom:          {"makes the client a member of a room: after the answer it gets what happens there", []Code{BadRoom, IdentityMismatch, TooManyRooms}},
	LeaveRoom:         {"ends the membership, also if there was none", []Code{BadRoom}},
	SendMessage:       {"stores a message and sends it to everyone in the room", []Code{BadRoom, NotJoined, IdentityMismatch, TooLarge, KeyReuse, Conflicted, UnknownOutcome}},
	EditMessage:       {"changes a message; the earlier content is not kept", []Code{BadRoom, NotJoined, NotFound, Gone, TooLate, TooLarge, Conflicted, UnknownOutcome}},
	DeleteMessage:     {"makes a message a tombstone", []Code{BadRoom, NotJoined, NotFound, Gone, TooLate, Conflicted, UnknownOutcome}},
	History:           {"returns a page of messages", []Code{BadRoom, NotJoined, Gone}},
	MarkRead:          {"says how far the client has read; a mark never goes back", []Code{BadRoom, NotJoined}},
	MarkUnread:        {"sets the mark back, so that a message is the first unread one", []Code{BadRoom, NotJoined}},
	StartTyping:       {"tells the others that the client types or has stopped", []Code{BadRoom, NotJoined}},
	ListRooms:         {Does: "returns a page of the list of conversations"},
	WatchRooms:        {Does: "joins the lobby: after the answer the client gets every change of a conversation"},
	UnwatchRooms:      {Does: "leaves the lobby"},
	ClaimRoom:         {"takes a conversation that nobody has", []Code{BadRoom, NotFound, Conflicted, UnknownOutcome}},
	TransferRoom:      {"gives a conversation to an operator, or to nobody. A closed server must know the operator: by `parley operator add`, or because it has been here with a signed token", []Code{BadRoom, NotFound, Conflicted, UnknownOutcome}},
	CloseRoom:         {"closes a conversation", []Code{BadRoom, NotFound, UnknownOutcome}},
	ReopenRoom:        {"opens a closed conversation", []Code{BadRoom, NotFound, UnknownOutcome}},
	Answered:          {"says that nobody has to answer", []Code{BadRoom, NotFound, UnknownOutcome}},
	UpdateRoom:        {"changes subject, labels and attributes", []Code{BadRoom, NotFound, UnknownOutcome}},
	AddNote:           {"adds a note, which only operators see", []Code{BadRoom, NotFound, TooLarge, KeyReuse, UnknownOutcome}},
	Search:            {"finds messages by their words, the newest first", []Code{BadRoom, NotReady}},
	Identify:          {"makes a visitor the user that a token of the site names, with the visitor's conversations", []Code{BadToken, Conflicted, UnknownOutcome}},
	Refresh:           {"replaces the token of the connection", []Code{BadToken}},
	SetStatus:         {Does: "says whether an operator takes conversations"},
	GetPerson:         {"returns a user with its conversations", []Code{NotFound}},
	UpdatePerson:      {"describes a user", []Code{UnknownOutcome}},

	NewMessage:      {Does: "a message was stored. To everyone in the room, the sender included"},
	MessageChanged:  {Does: "a message was changed or deleted. To everyone in the room"},
	NewNote:         {Does: "a note was added. To operators who joined with `notes`"},
	NoteChanged:     {Does: "a note was changed or deleted. To operators who joined with `notes`"},
	RoomChanged:     {Does: "a conversation has changed. To the lobby, at most once in 250 ms for each; and to everyone in the room and all connections of its user, unless what has changed follows from a message: its user gets an OwnRoomNews, also of a new conversation and of one that a message has reopened"},
	RoomGone:        {Does: "a room was erased. To the lobby, if it was a conversation, and to everyone in it"},
	Read:            {Does: "somebody has read. To everyone in the room; only operators learn which operator. After `markUnread`, to the operator's own connections, with the mark that was set back"},
	Typing:          {Does: "a member types or has stopped. To the others in the room"},
	PresenceChanged: {Does: "the members have changed. To the others in the room"},
	OperatorChanged: {Does: "an operator has come, gone or changed. To the lobby"},
	VisitorChanged:  {Does: "a visitor has come, gone or is on another page; at most once in 2 s for each. To operators who see one of its conversations"},
	TokenExpiring:   {Does: "the client's token ends in 60 s: send `refresh`"},
	PageSent:        {Does: "the answer to `history` or `joinRoom`. To a client that asked for no acknowledgement"},
	ErrorNotice:     {Does: "an event was refused. To a client that asked for no acknowledgement"},
}

// Describe returns the description of an event, which is one of the descriptors of this package. Two
// descriptors of one event share that of the first.
func Describe(descriptor any) Description { return descriptions[descriptor] }

// String says in words, as Markdown, who may use the event.
func (a Access) String() string {
	var words []string
	switch {
	case slices.Equal(a.Roles, operators):
		words = append(words, "operators")
	case slices.Equal(a.Roles, users):
		words = append(words, "users")
	case a.Right == 0:
		words = append(words, "everybody")
	}
	if a.Right != 0 {
		words = append(words, "with `"+a.Right.String()+"`")
	}
	who := strings.Join(words, " ")
	if a.Owner {
		who += ", or the user of the conversation"
	}
	if a.Doc != "" {
		who += "; " + a.Doc
	}
	return who
}

// rights are the letters of auth.Rights, for people.
var rights = []struct {
	right auth.Rights
	doc   string
}{
	{auth.Read, "join, history, feeds, search"},
	{auth.Write, "send, change and delete own messages, typing"},
	{auth.See, "see who is there"},
	{auth.Manage, "assign, close, label, delete what the user wrote"},
}

// RightsTable returns the letters of the rights and what they allow, as a Markdown table.
func RightsTable() string {
	var b strings.Builder
	b.WriteString("| right | allows to |\n| --- | --- |\n")
	for _, r := range rights {
		b.WriteString("| `" + r.right.String() + "` | " + r.doc + " |\n")
	}
	return b.String()
}
