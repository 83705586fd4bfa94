package history

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Limits of records.
const (
	MaxRecord   = 16 << 10 // bytes of a record's value as compact JSON
	MaxRecordID = 256      // bytes of a record's kind, and of its id
)

// KeepRemoved is how long RecordsSince lists a record that was removed. Whoever follows the records
// and has not read them for so long begins again at version 0.
const KeepRemoved = 24 * time.Hour

// A Record is a small JSON document that a program keeps beside the rooms, for example an operator
// or a revoked token.
type Record struct {
	Kind, ID string // 1 to MaxRecordID bytes each, without control characters
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
	// order of their versions. Those that were removed are among them for KeepRemoved. 0 is everything
	// that exists now, and nothing that was removed.
	RecordsSince(ctx context.Context, kind string, version int64) ([]Record, error)
	// PutRecords changes records in one commit, in their order. A record's Version is the one that
	// the stored record must have, 0 if there must be none, and -1 if it does not matter; otherwise
	// nothing changes and the error is ErrConflict. A nil Value removes a record. To remove one that
	// does not exist changes nothing. PutRecords returns the records with their new versions, which
	// are larger than all versions before.
	//
	// A value that was replaced or removed leaves no byte in any file, from the next moment on in which
	// nobody reads, at the latest a minute later. For a store on a database server, see Eraser.
	PutRecords(ctx context.Context, records ...Record) ([]Record, error)
}

// Prepare checks the record against the limits. It returns the record with a compacted copy of its
// value.
func (r Record) Prepare() (Record, error) {
	switch {
	case r.Kind == "" || !validID(r.Kind, MaxRecordID):
		return r, ErrBadDraft.because("kind of a record")
	case r.ID == "" || !validID(r.ID, MaxRecordID):
		return r, ErrBadDraft.because("id of a record")
	case r.Version < -1:
		return r, ErrBadDraft.because("version of a record")
	case r.Value == nil:
		return r, nil
	case !utf8.Valid(r.Value):
		return r, ErrBadDraft.because("value of a record is not UTF-8")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, r.Value); err != nil {
		return r, ErrBadDraft.because("value of a record is not JSON")
	}
	if compact.Len() > MaxRecord {
		return r, ErrTooLarge.because(strconv.Itoa(compact.Len()) + " bytes")
	}
	r.Value = compact.Bytes()
	mendSurrogates(r.Value)
	return r, nil
}

// PrepareRecords returns prepared copies of records.
func PrepareRecords(records []Record) ([]Record, error) {
	records = slices.Clone(records)
	for i := range records {
		var err error
		if records[i], err = records[i].Prepare(); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// Follow decides whether a record may take the place of current, nil if there is none, and which
// version it gets: next, or 0 if nothing changes because there is nothing to remove. It is meant for
// stores.
func (r Record) Follow(current *Record, next int64) (version int64, err error) {
	switch exists := current != nil && current.Value != nil; {
	case r.Version >= 0 && !exists && r.Version != 0, r.Version >= 0 && exists && r.Version != current.Version:
		return 0, ErrConflict.because(r.Kind + " record")
	case r.Value == nil && !exists:
		return 0, nil
	}
	return next, nil
}
