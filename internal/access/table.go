package access

import (
	"encoding/json"
	"fmt"

	"github.com/parley-go/parley/history"
)

// A table has the records of one kind by their ids. Rows are immutable.
type table[T any] map[string]row[T]

type row[T any] struct {
	value   *T
	version int64
}

// get returns the value with an id, or nil.
func (t table[T]) get(id string) *T { return t[id].value }

// each calls f for each row.
func (t table[T]) each(f func(id string, version int64)) {
	for id, r := range t {
		f(id, r.version)
	}
}

// follow applies a record that is newer than the row. It then calls changed with what the row was and
// is, each nil if there was or is none.
func (t table[T]) follow(r history.Record, changed func(was, is *T)) error {
	was := t[r.ID]
	if r.Version <= was.version {
		return nil
	}
	if r.Value == nil {
		if delete(t, r.ID); was.value != nil {
			changed(was.value, nil)
		}
		return nil
	}
	is := new(T)
	if json.Unmarshal(r.Value, is) != nil { // the error could show a secret
		return fmt.Errorf("parley: access: the record of kind %q with version %d is damaged", r.Kind, r.Version)
	}
	t[r.ID] = row[T]{is, r.Version}
	changed(was.value, is)
	return nil
}

// put returns the record that makes value the row with this id, if the row is still as it is now. A
// nil value removes it.
func (t table[T]) put(kind, id string, value *T) history.Record {
	r := history.Record{Kind: kind, ID: id, Version: t[id].version}
	if value != nil {
		r.Value, _ = json.Marshal(value) // cannot fail: strings, times and numbers
	}
	return r
}
