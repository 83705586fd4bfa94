package historytest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/history"
)

// RunRecords checks that the stores that open returns behave as [history.Records] requires. open must
// return an empty store that is closed when the test ends.
func RunRecords(t *testing.T, open func(testing.TB) history.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, history.Records)
	}{
		{"Put", testPutRecords},
		{"Refused", testRefusedRecords},
		{"AtOnce", testRecordsAtOnce},
		{"Model", testRecordsModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			records, ok := open(t).(history.Records)
			if !ok {
				t.Fatal("the store keeps no records")
			}
			test.run(t, records)
		})
	}
	t.Run("Closed", func(t *testing.T) {
		store := open(t)
		store.Close()
		records := store.(history.Records)
		_, err1 := records.Record(t.Context(), "k", "a")
		_, err2 := records.RecordsSince(t.Context(), "", 0)
		_, err3 := records.PutRecords(t.Context(), record("k", "a", "1", 0))
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, history.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

// record returns a record; an empty value removes it.
func record(kind, id, value string, version int64) history.Record {
	r := history.Record{Kind: kind, ID: id, Version: version}
	if value != "" {
		r.Value = json.RawMessage(value)
	}
	return r
}

func testPutRecords(t *testing.T, store history.Records) {
	ctx := t.Context()
	if got, err := store.RecordsSince(ctx, "", 0); err != nil || len(got) != 0 {
		t.Errorf("an empty store has %v, %v", got, err)
	}
	value := []byte(` { "name" : "Ann" , "half": "\ud800" } `)
	put, err := store.PutRecords(ctx, history.Record{Kind: "k", ID: "a", Value: value}, record("other", "a", "2", -1))
	if err != nil || put[0].Version < 1 || put[1].Version <= put[0].Version {
		t.Fatalf("put %v, %v", put, err)
	}
	clear(value) // the caller may reuse it
	const want = `{"name":"Ann","half":"\ufffd"}`
	if r, err := store.Record(ctx, "k", "a"); err != nil || string(r.Value) != want || r.Version != put[0].Version || r.Kind != "k" || r.ID != "a" {
		t.Errorf("record %+v, %v", r, err)
	}
	if got, err := store.RecordsSince(ctx, "k", 0); err != nil || len(got) != 1 || string(got[0].Value) != want {
		t.Errorf("of one kind: %v, %v", got, err)
	}
	for _, id := range []string{"b", "A", "a "} {
		if _, err := store.Record(ctx, "k", id); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("record %q: %v", id, err)
		}
	}

	// A removed record is listed with a new version, and then is none.
	removed, err := store.PutRecords(ctx, record("k", "a", "", put[0].Version))
	if err != nil || removed[0].Version <= put[1].Version || removed[0].Value != nil {
		t.Fatalf("removed %v, %v", removed, err)
	}
	if _, err := store.Record(ctx, "k", "a"); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("a removed record: %v", err)
	}
	if got, err := store.RecordsSince(ctx, "", put[1].Version); err != nil || len(got) != 1 || got[0].Value != nil || got[0].ID != "a" {
		t.Errorf("since the removal: %v, %v", got, err)
	}
	if got, err := store.RecordsSince(ctx, "", 0); err != nil || len(got) != 1 || got[0].Kind != "other" {
		t.Errorf("what exists: %v, %v", got, err)
	}
	if again, err := store.PutRecords(ctx, record("k", "a", "", -1), record("k", "never", "", 0)); err != nil || again[0].Version != 0 || again[1].Version != 0 {
		t.Errorf("removing nothing: %v, %v", again, err)
	}
	if got, err := store.RecordsSince(ctx, "", removed[0].Version); err != nil || len(got) != 0 {
		t.Errorf("removing nothing is listed: %v, %v", got, err)
	}
	if back, err := store.PutRecords(ctx, record("k", "a", "3", 0)); err != nil || back[0].Version <= removed[0].Version {
		t.Errorf("put again: %v, %v", back, err)
	}
}

func testRefusedRecords(t *testing.T, store history.Records) {
	ctx := t.Context()
	first, err := store.PutRecords(ctx, record("k", "a", "1", 0))
	if err != nil {
		t.Fatal(err)
	}
	version := first[0].Version
	large := `"` + strings.Repeat("x", history.MaxRecord-2) + `"`
	for _, test := range []struct {
		r    history.Record
		want error
	}{
		{record("", "a", "1", 0), history.ErrBadDraft},
		{record("k", "", "1", 0), history.ErrBadDraft},
		{record("k", "a\n", "1", 0), history.ErrBadDraft},
		{record("k\xff", "a", "1", 0), history.ErrBadDraft},
		{record("k", strings.Repeat("a", history.MaxRecordID+1), "1", 0), history.ErrBadDraft},
		{record("k", "b", "{", 0), history.ErrBadDraft},
		{record("k", "b", "\"\xff\"", 0), history.ErrBadDraft},
		{record("k", "b", "1", -2), history.ErrBadDraft},
		{record("k", "b", large[:1]+"x"+large[1:], 0), history.ErrTooLarge},
		{record("k", "a", "2", 0), history.ErrConflict},
		{record("k", "a", "2", version+1), history.ErrConflict},
		{record("k", "a", "", 0), history.ErrConflict},
		{record("k", "b", "1", version), history.ErrConflict},
		{record("k", "b", "", version), history.ErrConflict},
	} {
		// One that is good goes with it: nothing changes.
		if _, err := store.PutRecords(ctx, record("k", "good", "1", 0), test.r); !errors.Is(err, test.want) {
			t.Errorf("%.80v: %v", test.r, err)
		}
	}
	if got, err := store.RecordsSince(ctx, "", 0); err != nil || len(got) != 1 || string(got[0].Value) != "1" || got[0].Version != version {
		t.Errorf("afterwards: %v, %v", got, err)
	}
	if _, err := store.PutRecords(ctx, record(strings.Repeat("k", history.MaxRecordID), strings.Repeat("a", history.MaxRecordID), large, 0)); err != nil {
		t.Errorf("the largest record: %v", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := store.PutRecords(ctx, record("k", "c", "1", 0)); !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
}

// Many count in one record. Nobody's count is lost.
func testRecordsAtOnce(t *testing.T, store history.Records) {
	const members, counts = 8, 10
	ctx := t.Context()
	if _, err := store.PutRecords(ctx, record("k", "n", "0", 0)); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range members {
		group.Go(func() {
			for n := 0; n < counts; {
				r, err := store.Record(ctx, "k", "n")
				if err != nil {
					t.Error(err)
					return
				}
				var value int
				json.Unmarshal(r.Value, &value)
				r.Value = fmt.Appendf(nil, "%d", value+1)
				switch _, err = store.PutRecords(ctx, r); {
				case err == nil:
					n++
				case !errors.Is(err, history.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if r, err := store.Record(ctx, "k", "n"); err != nil || string(r.Value) != fmt.Sprint(members*counts) {
		t.Errorf("%s, %v", r.Value, err)
	}
}

// Random changes leave what a model says. A follower that reads now and then has the same.
func testRecordsModel(t *testing.T, store history.Records) {
	trial := 0
	type key struct{ kind, id string }
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		trial++
		kinds := rapid.SampledFrom([]string{fmt.Sprint("x", trial), fmt.Sprint("y", trial)})
		model, versions, followed := make(map[key]string), make(map[key]int64), make(map[key]string)
		var last, read int64
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				records := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) history.Record {
					k := key{kinds.Draw(t, "kind"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")}
					r := record(k.kind, k.id, rapid.SampledFrom([]string{"", "1", "2", "null"}).Draw(t, "value"), -1)
					switch rapid.IntRange(0, 3).Draw(t, "expects") {
					case 0:
						r.Version = 0
					case 1, 2:
						r.Version = versions[k]
					}
					return r
				}), 1, 4).Draw(t, "records")
				nextModel, nextVersions, conflict := maps.Clone(model), maps.Clone(versions), false
				for _, r := range records {
					k := key{r.Kind, r.ID}
					conflict = conflict || r.Version >= 0 && r.Version != nextVersions[k]
					nextModel[k], nextVersions[k] = string(r.Value), -1
					if r.Value == nil {
						delete(nextModel, k)
						delete(nextVersions, k)
					}
				}
				put, err := store.PutRecords(ctx, records...)
				if conflict {
					if !errors.Is(err, history.ErrConflict) {
						t.Fatalf("want a conflict, got %v, %v", put, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				model = nextModel
				versions = nextVersions
				for i, r := range put {
					if r.Version == 0 {
						if records[i].Value != nil {
							t.Fatalf("%+v has no version", r)
						}
						continue
					}
					if r.Version <= last {
						t.Fatalf("version %d after %d", r.Version, last)
					}
					last = r.Version
					if k := (key{r.Kind, r.ID}); r.Value != nil && versions[k] != 0 {
						versions[k] = r.Version
					}
				}
			},
			"follow": func(t *rapid.T) {
				records, err := store.RecordsSince(ctx, "", read)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.IsSortedFunc(records, func(a, b history.Record) int { return cmp.Compare(a.Version, b.Version) }) {
					t.Fatalf("in no order: %v", records)
				}
				for _, r := range records {
					read = r.Version
					if k := (key{r.Kind, r.ID}); r.Value == nil {
						delete(followed, k)
					} else if slices.Contains([]string{fmt.Sprint("x", trial), fmt.Sprint("y", trial)}, r.Kind) {
						followed[k] = string(r.Value)
					}
				}
				if !maps.Equal(followed, model) {
					t.Fatalf("followed %v, want %v", followed, model)
				}
			},
			"record": func(t *rapid.T) {
				k := key{kinds.Draw(t, "kind"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")}
				r, err := store.Record(ctx, k.kind, k.id)
				if want, ok := model[k]; ok && (err != nil || string(r.Value) != want || r.Version != versions[k]) || !ok && !errors.Is(err, history.ErrNotFound) {
					t.Fatalf("%v is %+v, %v; want %q at %d", k, r, err, want, versions[k])
				}
			},
		})
	})
}
