package historytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
)

// exporter is a store that can be exported.
type exporter interface {
	rooms
	history.Names
}

var exportTests = []test[exporter]{
	{"Export", testExport},
	{"ExportUser", testExportUser},
	{"ExportCut", testExportCut},
}

func fillForExport(t *testing.T, store exporter) {
	t.Helper()
	for room, user := range map[string]string{"a": "ann", "b": "bob", "v": "v_1"} {
		d := draft(room, 1)
		d.UserID, d.Conversation = user, &history.Conversation{UserID: user, Name: "N " + user, Subject: "about " + room}
		mustAppend(t, store, d, draft(history.NotesRoom(room), 1))
	}
	appendMany(t, store, "free", 1203)
}

// export returns the lines of an export, without the last one, as "type id".
func export(t *testing.T, store exporter, o history.ExportOptions) (lines []string, text []byte) {
	t.Helper()
	var out bytes.Buffer
	n, err := history.Export(context.Background(), store, &out, o)
	if err != nil {
		t.Fatalf("export %+v: %v", o, err)
	}
	text = bytes.Clone(out.Bytes())
	if rows, err := history.CheckExport(&out); err != nil || rows != n {
		t.Errorf("check of %d lines: %d, %v", n, rows, err)
	}
	for line := range bytes.Lines(text) {
		var l struct {
			Type, ID      string
			End           bool
			Rows          int64
			Room, Message struct {
				RoomID string
				Seq    int64
			}
			Person struct{ UserID string }
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.End:
			if l.Rows != n {
				t.Errorf("last line %s after %d", line, n)
			}
			return lines, text
		case l.Type == "person":
			lines = append(lines, "person "+l.Person.UserID)
		case l.Type == "room":
			lines = append(lines, "room "+l.Room.RoomID)
		default:
			lines = append(lines, fmt.Sprintf("%s %s %d", l.Type, l.Message.RoomID, l.Message.Seq))
		}
	}
	t.Fatal("no last line")
	return nil, nil
}

func testExport(t *testing.T, store exporter) {
	fillForExport(t, store)
	want := []string{"person ann", "person bob", "person v_1",
		"room a", "message a 1", "note ~notes/a 1", "room b", "message b 1", "note ~notes/b 1", "room free"}
	for n := range 1203 {
		want = append(want, fmt.Sprint("message free ", n+1))
	}
	want = append(want, "room v", "message v 1", "note ~notes/v 1")
	if got, _ := export(t, store, history.ExportOptions{}); !slices.Equal(got, want) {
		t.Errorf("got %d lines, want %d: %.300q", len(got), len(want), got)
	}
	if got, text := export(t, store, history.ExportOptions{RoomID: "b"}); !slices.Equal(got, want[6:9]) || !strings.Contains(string(text), `"subject":"about b"`) {
		t.Errorf("one room: %q", got)
	}
	for _, o := range []history.ExportOptions{{RoomID: "nobody's"}, {UserID: "nobody"}} {
		if _, err := history.Export(context.Background(), store, new(bytes.Buffer), o); history.Code(err) != history.ErrNotFound.Code {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func testExportUser(t *testing.T, store exporter) {
	fillForExport(t, store)
	if _, err := store.Merge(context.Background(), "v_1", "ann", nil); err != nil {
		t.Fatal(err)
	}
	got, text := export(t, store, history.ExportOptions{UserID: "ann"})
	want := []string{"person ann", "room a", "message a 1", "note ~notes/a 1", "room v", "message v 1", "note ~notes/v 1", "person v_1"}
	if !slices.Equal(got, want) || !strings.Contains(string(text), `"name":"N ann"`) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An export that was cut off or changed is recognized, wherever that is.
func testExportCut(t *testing.T, store exporter) {
	fillForExport(t, store)
	_, text := export(t, store, history.ExportOptions{UserID: "ann"})
	for end := range len(text) - 1 { // the last line's end may be missing
		if _, err := history.CheckExport(bytes.NewReader(text[:end])); err == nil {
			t.Fatalf("cut off after %d bytes of %d", end, len(text))
		}
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i := range lines[:len(lines)-1] {
		without := bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
		if _, err := history.CheckExport(bytes.NewReader(without)); err == nil {
			t.Errorf("without line %d", i+1)
		}
	}
	if _, err := history.CheckExport(bytes.NewReader(append(text, text...))); err == nil {
		t.Error("two after each other")
	}
}
