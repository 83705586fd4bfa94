package events

import (
	"encoding/json"
	"errors"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/chat"
)

// decode decodes an event's first argument, or says what is wrong with it.
func decode(p *parley.Packet, into any) error {
	err := p.Decode(into)
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistyped) && mistyped.Field != "":
		return refusal(chat.Refuse(chat.BadPayload, "%s cannot be a JSON %s", mistyped.Field, mistyped.Value))
	}
	return refusal(chat.Refuse(chat.BadPayload, "the argument must be an object"))
}
