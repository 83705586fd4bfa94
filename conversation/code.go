package conversation

// Code says why a request was refused.
type Code string

// The codes of refusals. The table below says what they mean.
const (
	BadPayload       Code = "bad_payload"
	BadRoom          Code = "bad_room"
	NotJoined        Code = "not_joined"
	IdentityMismatch Code = "identity_mismatch"
	TooLarge         Code = "too_large"
	KeyReuse         Code = "key_reuse"
	TooManyRooms     Code = "too_many_rooms"
	RateLimited      Code = "rate_limited"
	UnknownEvent     Code = "unknown_event"
	Unavailable      Code = "unavailable"
	UnknownOutcome   Code = "unknown_outcome"
	Internal         Code = "internal"

	Forbidden    Code = "forbidden"
	Conflicted   Code = "conflict"
	NotFound     Code = "not_found"
	Gone         Code = "gone"
	TooLate      Code = "too_late"
	BadToken     Code = "bad_token"
	TokenExpired Code = "token_expired"
	Banned       Code = "banned"
	NotReady     Code = "not_ready"
)

// codes is the only table of codes, in the order of the documentation: what each means, when to try
// again, and its HTTP status.
var codes = []struct {
	code           Code
	status         int
	meaning, again string
}{
	{BadPayload, 400, "the argument is not an object, or a member is missing, of the wrong type or out of bounds", "no"},
	{BadRoom, 400, "`roomId` cannot be the id of a room", "no"},
	{NotJoined, 403, "the room was not joined", "after `joinRoom`"},
	{BadToken, 401, "nobody is proved by this token, key or ticket, or there is none where one is needed", "with another one"},
	{TokenExpired, 401, "the token, or the session that it began, has ended", "with a new one"},
	{IdentityMismatch, 403, "`sendMessage` names somebody else than `joinRoom` did, or the connection's identity is somebody else, or an id is that of a guest, and not the client's own", "no"},
	{Forbidden, 403, "the client has no right to do this", "no"},
	{Banned, 403, "the user or its network is banned", "no"},
	{TooLate, 403, "the time in which the author may change the message is over", "no"},
	{NotFound, 404, "there is no such message, conversation or person", "no"},
	{Gone, 410, "it was there and was deleted for its age: load the newest page", "no"},
	{Conflicted, 409, "somebody else was faster; `data` has the `room` or the `message` as it is now", "after a look at it"},
	{TooLarge, 413, "the message is larger than `max-message`", "no"},
	{KeyReuse, 422, "this `clientId` belongs to another message of the same author", "no"},
	{TooManyRooms, 429, "the socket is in `max-rooms` rooms, or all clients of its address together are in too many", "after `leaveRoom`"},
	{RateLimited, 429, "too much at once, more than can wait; nothing was stored. `data` is `{retryAfter}`, in seconds", "after `retryAfter` seconds"},
	{UnknownEvent, 404, "there is no such event", "no"},
	{NotReady, 503, "the server cannot do this yet: the index for searching is being built, the setting `search` is off, or nobody has been made an operator", "later"},
	{Unavailable, 503, "the store cannot be written or read, or lacks this capability, or the server is shutting down; nothing was stored. Presence, typing and what can be read go on", "later"},
	{UnknownOutcome, 504, "the message may have been stored, or not", "yes, with the same `clientId`"},
	{Internal, 500, "the server's fault", "later"},
}

// Codes returns all codes, in the order of the documentation.
func Codes() []Code {
	all := make([]Code, len(codes))
	for i := range codes {
		all[i] = codes[i].code
	}
	return all
}

// Meaning returns what the code means, as Markdown. It is empty for an unknown code.
func (c Code) Meaning() string { meaning, _, _ := c.row(); return meaning }

// Again returns when a client may ask again, as Markdown. It is empty for an unknown code.
func (c Code) Again() string { _, again, _ := c.row(); return again }

// Status returns the code's HTTP status. It is 500 for an unknown code.
func (c Code) Status() int { _, _, status := c.row(); return status }

func (c Code) row() (meaning, again string, status int) {
	for i := range codes {
		if codes[i].code == c {
			return codes[i].meaning, codes[i].again, codes[i].status
		}
	}
	return "", "", 500
}

// Notice is the payload of the event "error": a refusal of an event without acknowledgement.
type Notice struct {
	Code    Code   `json:"code" ts:"RefusalCode"`
	Message string `json:"message" doc:"for people"`
	Data    any    `json:"data,omitempty" ts:"RefusalData"`
	Event   string `json:"event" doc:"the name of the refused event"`
}

// RefusalData is what a refusal may carry.
type RefusalData struct {
	RetryAfter int      `json:"retryAfter,omitempty" doc:"of rate_limited: seconds"`
	Room       *Room    `json:"room,omitempty" doc:"of conflict: the conversation as it is"`
	Message    *Message `json:"message,omitempty" doc:"of conflict: the message as it is"`
	RoomID     string   `json:"roomId,omitempty" doc:"of forbidden: a room that was left because a right is gone"`
}
