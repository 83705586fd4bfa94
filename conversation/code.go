package conversation

// Code says why a request was refused.
type Code string

// The codes of refusals.
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
	RoomClosed   Code = "closed"
	BadToken     Code = "bad_token"
	TokenExpired Code = "token_expired"
	Banned       Code = "banned"
	NotReady     Code = "not_ready"
)

// Notice is the payload of the event "error": a refusal of an event without acknowledgement.
type Notice struct {
	Code    Code   `json:"code"`
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
