package access

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
)

// A Secret is a password, the value of a cookie, or a key. It does not show itself in logs and errors;
// convert it to a string to use it.
type Secret string

const hidden = "[secret]"

// String returns no secret.
func (Secret) String() string { return hidden }

// GoString returns no secret.
func (Secret) GoString() string { return hidden }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// digest returns the id of what a secret opens. Nobody can find the secret from it, and its lookup
// takes no time that depends on the secret.
func (s Secret) digest() string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
