package postgres_test

import (
	"reflect"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

// Whoever looks into a database finds what is there, and leaves it as it is.
func TestInspect(t *testing.T) {
	url := postgrestest.Database(t)
	for range 2 {
		if records, search, err := postgres.Inspect(t.Context(), url); records != nil || search || err != nil {
			t.Fatalf("an empty database has %v, %v, %v", records, search, err)
		}
	}
	store, err := postgres.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, r := range []history.Record{{Kind: "a", ID: "1", Value: []byte(`{"x":1}`)}, {Kind: "b", ID: "1", Value: []byte(`2`)}, {Kind: "a", ID: "1", Version: -1}} {
		if _, err := store.PutRecords(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	want, err := store.RecordsSince(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	records, search, err := postgres.Inspect(t.Context(), url)
	if len(want) != 1 || !reflect.DeepEqual(records, want) || search || err != nil {
		t.Errorf("found %v, %v, %v; want %v", records, search, err, want)
	}
}
