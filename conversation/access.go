package conversation

import (
	"slices"

	"github.com/parley-go/parley/auth"
)

// Access says who may use an event from the client. What depends on the content of a request stands
// in Doc; the server checks it as well.
type Access struct {
	// Roles may use the event. Nil: everybody, also somebody who has proved nothing.
	Roles []auth.Role
	// Right is what the client needs in the room that the event names or, if it names a user, in a
	// conversation of that user; 0: nothing.
	Right auth.Rights
	// Owner says that the user of the conversation may use the event if it may read it, without Right.
	Owner bool
	// Doc says what else holds, for people.
	Doc string
}

var (
	users     = []auth.Role{auth.User}
	operators = []auth.Role{auth.Operator, auth.Admin, auth.Service}
)

// access is the only table of who may what.
var access = map[string]Access{
	string(Hello):             {},
	string(StartConversation): {Roles: users, Doc: "starts a conversation of its own"},
	string(JoinRoom):          {Right: auth.Read, Doc: "`notes`: operators"},
	string(LeaveRoom):         {},
	string(SendMessage):       {Right: auth.Write},
	string(EditMessage):       {Right: auth.Write, Doc: "the author, users for a time only; admins"},
	string(DeleteMessage):     {Right: auth.Write, Doc: "the author, users for a time only; who may manage the room, messages of its user; admins"},
	string(History):           {Right: auth.Read, Doc: "`notes`: operators"},
	string(MarkRead):          {Right: auth.Read},
	string(MarkUnread):        {Roles: operators, Right: auth.Read, Doc: "its own mark"},
	string(StartTyping):       {Right: auth.Write},
	string(ListRooms):         {Doc: "users: their own conversations"},
	string(WatchRooms):        {Roles: operators},
	string(UnwatchRooms):      {Roles: operators},
	string(ClaimRoom):         {Roles: operators, Right: auth.Manage},
	string(TransferRoom):      {Roles: operators, Right: auth.Manage},
	string(CloseRoom):         {Right: auth.Manage, Owner: true, Doc: "`note`: operators"},
	string(ReopenRoom):        {Right: auth.Manage, Owner: true},
	string(Answered):          {Roles: operators, Right: auth.Manage},
	string(UpdateRoom):        {Roles: operators, Right: auth.Manage},
	string(AddNote):           {Roles: operators, Right: auth.Write},
	string(Search):            {Right: auth.Read, Doc: "users: in their own conversations"},
	string(Identify):          {Roles: users, Doc: "a visitor"},
	string(Refresh):           {Doc: "a token of the same subject"},
	string(SetStatus):         {Roles: operators},
	string(GetPerson):         {Roles: operators, Right: auth.Read, Doc: "in a conversation of the user"},
	string(UpdatePerson):      {Roles: operators, Right: auth.Manage, Doc: "in a conversation of the user"},
}

// AccessTo returns who may use an event. Ok reports whether there is such an event.
func AccessTo(event string) (a Access, ok bool) {
	a, ok = access[event]
	return a, ok
}

// Allows reports whether a client may use the event: its role, its rights in the room that the event
// names, and whether the room is its own conversation. In a room, no other right is of use without the
// one to read, because answers show what is in it. If the event names no room, rights do not matter to
// it; pass a.Right.
func (a Access) Allows(role auth.Role, has auth.Rights, owner bool) bool {
	return (a.Roles == nil || slices.Contains(a.Roles, role)) &&
		(a.Right == 0 || has.Has(auth.Read) && (has.Has(a.Right) || a.Owner && owner))
}
