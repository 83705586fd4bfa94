package auth

import (
	"fmt"
	"strings"
)

// Rights are what an identity may do in a room.
type Rights uint8

// The rights.
const (
	Read   Rights = 1 << iota // r: join, history, feed, search
	Write                     // w: send, edit and delete own messages, typing, files
	See                       // p: see who is there
	Manage                    // m: assign, close, label, delete the messages of others
)

const letters = "rwpm"

// ParseRights reads letters such as "rw". An unknown or repeated letter is an error.
func ParseRights(s string) (r Rights, err error) {
	for _, c := range s {
		i := strings.IndexRune(letters, c)
		if i < 0 || r&(1<<i) != 0 {
			return 0, fmt.Errorf("parley: auth: rights %q: want some of %s", s, letters)
		}
		r |= 1 << i
	}
	return r, nil
}

// String returns the letters.
func (r Rights) String() string {
	var b strings.Builder
	for i, c := range letters {
		if r&(1<<i) != 0 {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// Has reports whether r has all of the rights.
func (r Rights) Has(all Rights) bool { return r&all == all }

// A Grant gives rights in rooms. Pattern is the id of a room, or a prefix that ends with "*". "{sub}"
// in it stands for the subject.
type Grant struct {
	Pattern string
	Rights  Rights
}

// Grants are several grants. The one that matches the longest part of the id decides; the id itself comes
// before a prefix of it.
type Grants []Grant

// In returns the rights of a subject in a room. Ok reports whether a grant matches; it may give no
// rights.
func (g Grants) In(room, subject string) (r Rights, ok bool) {
	longest := -1
	for _, grant := range g {
		prefix, isPrefix := strings.CutSuffix(grant.Pattern, "*")
		prefix = strings.ReplaceAll(prefix, "{sub}", subject)
		matches, length := room == prefix, 2*len(prefix)+1
		if isPrefix {
			matches, length = strings.HasPrefix(room, prefix), 2*len(prefix)
		}
		if matches && length > longest {
			r, ok, longest = grant.Rights, true, length
		}
	}
	return r, ok
}
