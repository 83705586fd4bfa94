// Package budget decides what a client may cost.
//
// Clients make the server work, and the work falls into kinds. Each kind may have a [Limit]: so much a
// second, and so much at once. Each client has a [Balance] for each kind, and the code that does the
// work charges it. The server first slows down a client that is over its budget: it reads less from
// it, and the client loses nothing. The server refuses only what it cannot slow down.
package budget

import (
	"sync/atomic"
	"time"
)

// Seconds returns a wait as clients hear of it, in whole seconds. It is rounded up, so that who comes back
// then does not come too early.
func Seconds(wait time.Duration) int {
	return int((wait + time.Second - 1) / time.Second)
}

// A Kind is something that a client makes the server do.
type Kind uint8

// The kinds. Package engine charges the first three for each connection, and package parley the
// fourth. Packages chat and access charge the others; see their Budgets.
const (
	Frames   Kind = iota // control frames, small fragments, and packets without an event
	Bytes                // received bytes, of any sort
	Inflated             // bytes that inflating adds to compressed messages
	Events               // events, of any name

	Joins            // rooms that a connection joins or leaves
	Pages            // pages of history that a connection asks for
	Reads            // bytes of messages that are read from the store for a connection
	Messages         // messages that a member sends into a room
	MessageBytes     // their bytes, as the others receive them
	RoomMessages     // messages that all members send into a room
	RoomMessageBytes // their bytes
	Typing           // announcements in a room of who is typing
	Presence         // announcements in a room of who joins and leaves
	Rooms            // rooms that the clients of an address create
	Stored           // bytes that are stored for the clients of an address
	AddressEvents    // events of the clients of an address
	AddressReads     // bytes of messages that are read from the store for the clients of an address
	Openings         // connections and feeds that the clients of an address begin
	Memberships      // rooms that the clients of an address are in: Limit.Burst of them at the same time
	Requests         // requests over HTTP of the clients of an address

	// Budgets of identities, and of all users of an address. Package chat charges them.
	UserMessages         // messages of a user
	UserMessagesHourly   // the same, in the long run
	AddressMessages      // messages of all users of an address
	OperatorMessages     // messages of an operator or a program
	Conversations        // conversations that a user begins
	AddressConversations // conversations that all users of an address begin
	UserTyping           // times that a user says that it is typing
	UserVisits           // pages that a user visits
	UserMarks            // times that a user says what it has read
	OperatorSignals      // all of these, of an operator or a program
	UserSearches         // searches of a user
	AddressSearches      // searches of all users of an address
	OperatorSearches     // searches of an operator or a program

	// Budgets of those who have not signed in. Package access charges them.
	SignIns  // attempts of the clients of an address to sign in as an operator
	Logins   // attempts to sign in with the same name, from anywhere
	Visitors // tokens of new visitors for the clients of an address

	Kinds = int(iota) // number of kinds
)

// ConnectionKinds is the number of kinds that are charged for each connection: the first ones.
const ConnectionKinds = int(Events) + 1

var names = [Kinds]string{
	"frames", "bytes", "inflated", "events",
	"joins", "pages", "reads", "messages", "message_bytes", "room_messages", "room_message_bytes", "typing", "presence",
	"rooms", "stored", "address_events", "address_reads", "openings", "memberships", "requests",
	"user_messages", "user_messages_hourly", "address_messages", "operator_messages", "conversations", "address_conversations",
	"user_typing", "user_visits", "user_marks", "operator_signals", "user_searches", "address_searches", "operator_searches",
	"sign_ins", "logins", "visitors",
}

// String returns the kind's name in metrics and logs.
func (k Kind) String() string { return names[k] }

// A Limit is how much of one kind a client may cost: PerSecond in the long run, and Burst at once
// after a time of rest. The zero Limit is no limit.
type Limit struct {
	PerSecond float64
	Burst     float64 // 0 means two seconds' worth
}

// Limits has the limit of each kind.
type Limits [Kinds]Limit

// burst is the time in which a client that spent its whole burst earns it again.
func (l Limit) burst() float64 {
	if l.Burst > 0 {
		return l.Burst / l.PerSecond
	}
	return 2
}

// A Balance is what a client has left of one kind. The zero Balance is the whole burst. It is safe
// for concurrent use.
type Balance struct {
	// whole is the time at which the client will have its whole burst again, see now. What it has
	// left follows from that (the generic cell rate algorithm, ITU-T I.371).
	whole atomic.Int64
}

// Charge charges n. If the client is now over its budget, wait is the time until it no longer is.
// Until then the server should do nothing more of this kind for it.
func (b *Balance) Charge(l Limit, n int) (wait time.Duration) {
	if l.PerSecond <= 0 {
		return 0
	}
	for now := now(); ; {
		old := b.whole.Load()
		whole := min(max(old, now)+nanoseconds(float64(n)/l.PerSecond), now+forever)
		if whole == old || b.whole.CompareAndSwap(old, whole) {
			return time.Duration(max(0, whole-now-nanoseconds(l.burst())))
		}
	}
}

// Allow charges n if the client is within its budget before, even if it is over it afterwards.
// Otherwise it charges nothing and returns how long the client has to wait.
func (b *Balance) Allow(l Limit, n int) (wait time.Duration) {
	if wait = b.Charge(l, 0); wait == 0 {
		b.Charge(l, n)
	}
	return wait
}

// Debt returns the time until the client has its whole burst again.
func (b *Balance) Debt() time.Duration { return time.Duration(max(0, b.whole.Load()-now())) }

// Full reports whether the client has its whole burst, so that a zero Balance could take the place
// of b.
func (b *Balance) Full() bool { return b.Debt() == 0 }

// forever is 36 years in nanoseconds. No balance is further behind.
const forever = 1 << 60

func nanoseconds(seconds float64) int64 { return int64(min(seconds*1e9, forever)) }

// begun makes the clock monotonic: a step of the system's clock changes no balance.
var begun = time.Now()

// now returns the time in nanoseconds since a moment that no Balance knows.
func now() int64 { return 1<<61 + int64(time.Since(begun)) }
