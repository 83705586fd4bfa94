package conversation

import (
	"encoding/json"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history"
)

// HelloRequest tells the server about a client, and asks who the client is.
type HelloRequest struct {
	Page     *VisitedPage `json:"page,omitempty"`
	Locale   string       `json:"locale,omitempty" doc:"at most 35 bytes"`
	Timezone string       `json:"timezone,omitempty" doc:"at most 64 bytes"`
	Client   string       `json:"client,omitempty" doc:"name and version of the program; at most 100 bytes"`
}

// HelloAnswer says who the client is.
type HelloAnswer struct {
	Me        Me            `json:"me"`
	ExpiresAt *history.Time `json:"expiresAt,omitempty"`
	Open      []Room        `json:"open" doc:"the user's open conversations; of an operator, those that it has; at most 50"`
	Settings  Settings      `json:"settings"`
}

// Me is the client itself.
type Me struct {
	UserID     string    `json:"userId,omitempty"`
	OperatorID string    `json:"operatorId,omitempty"`
	Name       string    `json:"name,omitempty"`
	Role       auth.Role `json:"role,omitempty" enum:"user,operator,admin,service"`
	Visitor    bool      `json:"visitor,omitempty" doc:"the server made this user up"`
	Was        []string  `json:"was,omitempty" doc:"ids of the visitors that this user was: their messages are its own"`
}

// Settings are what pages need to know.
type Settings struct {
	Open       bool  `json:"open" doc:"the server believes who clients say they are"`
	Preview    bool  `json:"preview" doc:"operators see what visitors type"`
	MaxMessage int   `json:"maxMessage" doc:"bytes of compact JSON"`
	EditWindow int64 `json:"editWindow" doc:"milliseconds in which users may change their messages"`
	Search     bool  `json:"search" doc:"operators can search in all rooms"`
}

// TokenRequest has a token.
type TokenRequest struct {
	Token string `json:"token"`
}

// Expiry says when the client's identity ends.
type Expiry struct {
	ExpiresAt *history.Time `json:"expiresAt,omitempty" doc:"absent: never"`
}

// Identified is the answer to Identify.
type Identified struct {
	Me     Me  `json:"me"`
	Merged int `json:"merged" doc:"conversations that became the user's"`
}

// PersonRequest names a user.
type PersonRequest struct {
	UserID string `json:"userId"`
}

// PersonUpdate describes a user.
type PersonUpdate struct {
	UserID     string          `json:"userId"`
	Name       *string         `json:"name,omitempty" doc:"at most 200 bytes; what a signed token says of a user cannot be changed"`
	Email      *string         `json:"email,omitempty" doc:"the same"`
	Attributes json.RawMessage `json:"attributes,omitempty" doc:"a merge patch of an object of at most 4 KiB"`
}

// PersonAnswer is a user with its conversations.
type PersonAnswer struct {
	Person Person `json:"person"`
	Rooms  []Room `json:"rooms" doc:"those that the asker may read, at most 50"`
}

// Person is a user.
type Person struct {
	UserID     string          `json:"userId"`
	Name       string          `json:"name,omitempty"`
	Email      string          `json:"email,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty" doc:"an object"`
	Verified   bool            `json:"verified"`
	Became     string          `json:"became,omitempty" doc:"the user into whom this visitor was merged"`
	CreatedAt  *history.Time   `json:"createdAt,omitempty"`
	SeenAt     *history.Time   `json:"seenAt,omitempty"`
	Online     bool            `json:"online"`
}
