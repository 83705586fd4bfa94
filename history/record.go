package history

import (
	"context"
	"encoding/json"
)

// MaxRecord is the maximum size of a record's value, in bytes.
const MaxRecord = 16 << 10

// A Record is a small JSON document that a program keeps beside the rooms, for example an operator
// or a revoked token.
type Record struct {
	Kind, ID string // 1 to 200 bytes each
	Value    json.RawMessage
	// Version is the number of its last change among the changes of all records. Nil as a Value says
	// that the record was removed.
	Version int64
}

// Records is the capability of a store to keep records. There are few of them, and they change
// seldom.
type Records interface {
	// Record returns a record. If there is none, the error is ErrNotFound.
	Record(ctx context.Context, kind, id string) (Record, error)
	// RecordsSince returns the records of a kind ("" is all) that have changed after a version, in the
	// order of their versions, those that were removed included. 0 is everything that exists now.
	RecordsSince(ctx context.Context, kind string, version int64) ([]Record, error)
	// PutRecords changes records in one commit. A record's Version is the one that the stored record
	// must have, 0 if there must be none, and -1 if it does not matter; otherwise nothing changes and
	// the error is ErrConflict. A nil Value removes a record. It returns the records with their new
	// versions. Values that were replaced or removed leave no byte in any file.
	PutRecords(ctx context.Context, records ...Record) ([]Record, error)
}
