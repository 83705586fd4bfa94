package history_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
)

// An export since a time has what was written or changed then or later, and says so if that is nothing.
func TestExportSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, m := t.Context(), history.NewMemory()
		add := func(room string) {
			d := history.Draft{RoomID: room, UserID: "ann", Message: []byte(`"x"`)}
			if !strings.HasPrefix(room, "~") {
				d.Conversation = &history.Conversation{UserID: "ann"}
			}
			if _, err := m.Append(ctx, []history.Draft{d}); err != nil {
				t.Fatal(err)
			}
		}
		export := func(o history.ExportOptions) string {
			t.Helper()
			var out strings.Builder
			if _, err := history.Export(ctx, m, &out, o); err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
			if _, err := history.CheckExport(strings.NewReader(out.String())); err != nil {
				t.Error(err)
			}
			var lines []string
			for line := range strings.Lines(out.String()) {
				var l struct {
					Type          string
					Room, Message struct {
						RoomID string
						Seq    int64
					}
				}
				if err := json.Unmarshal([]byte(line), &l); err != nil {
					t.Fatal(err)
				}
				if l.Type != "" {
					lines = append(lines, fmt.Sprint(l.Type, " ", cmp.Or(l.Room.RoomID, l.Message.RoomID), " ", l.Message.Seq))
				}
			}
			return strings.Join(lines, ", ")
		}
		for _, room := range []string{"edited", "edited", "noted", "old", "new"} {
			add(room)
		}
		time.Sleep(time.Hour)
		since := time.Now()
		if _, err := m.Edit(ctx, history.Edit{RoomID: "edited", Seq: 2, Message: []byte(`"y"`)}); err != nil {
			t.Fatal(err)
		}
		add("~notes/noted")
		add("new")
		for _, test := range []struct {
			o    history.ExportOptions
			want string
		}{
			{history.ExportOptions{Since: since}, "person  0, room edited 0, message edited 2, room new 0, message new 2, room noted 0, note ~notes/noted 1"},
			{history.ExportOptions{Since: since, UserID: "ann"}, "person  0, room edited 0, message edited 2, room new 0, message new 2, room noted 0, note ~notes/noted 1"},
			{history.ExportOptions{Since: since, RoomID: "edited"}, "room edited 0, message edited 2"},
			{history.ExportOptions{Since: since, RoomID: "old"}, ""},
			{history.ExportOptions{Since: since.Add(time.Hour), UserID: "ann"}, "person  0"},
		} {
			if got := export(test.o); got != test.want {
				t.Errorf("%+v: %s", test.o, got)
			}
		}
		if _, err := history.Export(ctx, m, io.Discard, history.ExportOptions{Since: since, RoomID: "nowhere"}); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("a room that does not exist: %v", err)
		}
	})
}
