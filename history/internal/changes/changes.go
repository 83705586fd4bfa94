// Package changes packs the changes of a commit for a changelog, in which they are one row: a row for each
// makes appends a third slower.
package changes

import (
	"encoding/binary"
	"fmt"

	"github.com/parley-go/parley/history"
)

// Chunk is how many changes are read at once, and how many commits are forgotten in one transaction.
const Chunk = 1000

// Change is a change of a room, of which a store knows the number.
type Change struct {
	Position          int64
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

// Unpack appends to changes, up to a limit, those of a commit that come after a position. position is that of the
// commit's last change. The numbers of changed conversations are counted from base.
func Unpack(changes []Change, packed []byte, position, base, after int64, limit int) ([]Change, error) {
	var commit []Change
	for len(packed) > 0 {
		var n [4]int64
		for i := range n {
			v, size := binary.Uvarint(packed)
			if size <= 0 {
				return nil, fmt.Errorf("the changes up to %d are damaged after %d of a commit", position, len(commit))
			}
			n[i], packed = int64(v), packed[size:]
		}
		c := Change{Kind: history.ChangeKind(n[0]), Room: n[1], Number: n[2], Seq: n[3]}
		if c.Kind == history.RoomChanged {
			c.Number += base
		}
		commit = append(commit, c)
	}
	for i, c := range commit {
		c.Position = position - int64(len(commit)-1-i)
		if c.Position > after && len(changes) < limit {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// Named returns changes with the names of their rooms, of which those that are gone have none.
func Named(changes []Change, names map[int64]string) []history.Change {
	named := make([]history.Change, len(changes))
	for i, c := range changes {
		named[i] = history.Change{Position: c.Position, Kind: c.Kind, RoomID: names[c.Room], Number: c.Number, Seq: c.Seq}
	}
	return named
}
