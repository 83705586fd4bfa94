package history

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// memoryRecords are the records of a Memory.
type memoryRecords struct {
	byKey   map[recordKey]memoryRecord
	version int64
}

type recordKey struct{ kind, id string }

type memoryRecord struct {
	Record
	removed time.Time
}

// Record implements [Records].
func (s *Memory) Record(ctx context.Context, kind, id string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return Record{}, ErrClosed
	}
	r := s.records.byKey[recordKey{kind, id}].Record
	if r.Value == nil {
		return Record{}, ErrNotFound.because(kind + " record")
	}
	return r.clone(), nil
}

// RecordsSince implements [Records].
func (s *Memory) RecordsSince(ctx context.Context, kind string, version int64) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	records := []Record{}
	for _, r := range s.records.byKey {
		if r.Version > version && (kind == "" || r.Kind == kind) && (version > 0 || r.Value != nil) {
			records = append(records, r.clone())
		}
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Version, b.Version) })
	return records, nil
}

// PutRecords implements [Records].
func (s *Memory) PutRecords(ctx context.Context, records ...Record) ([]Record, error) {
	records, err := PrepareRecords(records)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, ErrUnavailable.Wrap("put records", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	all, now := &s.records, s.now()
	last, changed := all.version, make(map[recordKey]memoryRecord, len(records))
	for i := range records {
		r, key := &records[i], recordKey{records[i].Kind, records[i].ID}
		current, ok := changed[key]
		if !ok {
			current = all.byKey[key]
		}
		if r.Version, err = r.Follow(&current.Record, last+1); err != nil {
			return nil, err
		}
		if r.Version != 0 {
			last = r.Version
			changed[key] = memoryRecord{r.clone(), now}
		}
	}
	if all.byKey == nil {
		all.byKey = make(map[recordKey]memoryRecord)
	}
	all.version = last
	maps.Copy(all.byKey, changed)
	maps.DeleteFunc(all.byKey, func(_ recordKey, r memoryRecord) bool {
		return r.Value == nil && now.Sub(r.removed) > KeepRemoved
	})
	return records, nil
}

func (r Record) clone() Record {
	r.Value = bytes.Clone(r.Value)
	return r
}
