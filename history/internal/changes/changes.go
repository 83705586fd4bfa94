// Package changes packs the changes of a commit for a changelog, in which they are one row: a row for each
// makes appends a third slower.
package changes

import (
	"encoding/binary"
	"fmt"

	"github.com/parley-go/parley/history"
)

// Change is a change of a room, of which a store knows the number.
type Change struct {
	Kind              history.ChangeKind
	Room, Number, Seq int64
}

// Append appends a change to those of a commit: its kind, room, number and seq as varints.
func Append(packed []byte, c Change) []byte {
	for _, n := range [...]int64{int64(c.Kind), c.Room, c.Number, c.Seq} {
		packed = binary.AppendUvarint(packed, uint64(n))
	}
	return packed
}

// Unpack returns the changes of a commit.
func Unpack(packed []byte) (changes []Change, err error) {
	for len(packed) > 0 {
		var n [4]int64
		for i := range n {
			v, size := binary.Uvarint(packed)
			if size <= 0 {
				return nil, fmt.Errorf("the changes of a commit are damaged after %d", len(changes))
			}
			n[i], packed = int64(v), packed[size:]
		}
		changes = append(changes, Change{history.ChangeKind(n[0]), n[1], n[2], n[3]})
	}
	return changes, nil
}
