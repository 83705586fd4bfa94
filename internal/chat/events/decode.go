package events

import (
	"encoding/json"
	"errors"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/chat"
)

// decode decodes an event's first argument into a request, or says what is wrong with it.
func decode(p *parley.Packet, into any) error {
	err := p.Decode(into)
	if err == nil {
		if name := conversation.Missing(into); name != "" {
			return refusal(chat.Refuse(chat.BadPayload, "%s is missing, or is empty or 0", name))
		}
		return nil
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) && mistyped.Field != "" {
		return refusal(chat.Refuse(chat.BadPayload, "%s cannot be a JSON %s", mistyped.Field, mistyped.Value))
	}
	return refusal(chat.Refuse(chat.BadPayload, "the argument must be an object"))
}
