package app_test

import (
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// A server deletes what is too much, and ends that before it closes its store.
func TestRetention(t *testing.T) {
	store := history.NewMemory()
	drafts := make([]history.Draft, 20)
	for i := range drafts {
		drafts[i] = history.Draft{RoomID: "r", UserID: "ann", Message: []byte("1")}
	}
	if _, err := store.Append(t.Context(), drafts); err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.RetentionMessages = 5
	i := startOn(t, c, store)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s, err := store.History(t.Context(), "r", history.Page{})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d messages, %v", len(s.Messages), err)
		}
		if len(s.Messages) == 5 {
			break
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // it is counted after the commit
		if n := metrics(t, i.url)["parley_messages_pruned"].value(t, ""); n == 15 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%v messages are counted", n)
		}
	}
	if err := i.stop(); err != nil {
		t.Error(err)
	}
}
