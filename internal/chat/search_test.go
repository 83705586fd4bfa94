package chat_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// A search finds what its client may read, and nothing else.
func TestSearch(t *testing.T) {
	atDesk(t, func(o *chat.Options) { o.OpenRooms = auth.Grants{{Pattern: "open-*", Rights: auth.Read}} }, func(d *desk) {
		ctx, ann, ben, anna := d.Context(), d.user("ann"), d.user("ben"), d.operator("anna")
		hers, his := ann.start("blue shoes"), ben.start("red shoes")
		anna.join(hers)
		anna.send(hers, "which shoes")
		if _, err := anna.AddNote(ctx, conversation.NoteRequest{RoomID: hers, Message: text("odd shoes")}); err != nil {
			t.Fatal(err)
		}
		for _, room := range []string{"free", "open-1"} {
			if _, err := d.store.Append(ctx, []history.Draft{{RoomID: room, UserID: "x", Message: text("old shoes")}}); err != nil {
				t.Fatal(err)
			}
		}
		names := map[string]string{hers: "hers", his: "his"}
		some := d.with(&auth.Identity{Subject: "sam", Role: auth.Operator, Grants: auth.Grants{{Pattern: his, Rights: auth.Read}}})
		none := d.with(&auth.Identity{Subject: "ann", Role: auth.User, Grants: auth.Grants{{Pattern: "x", Rights: auth.Read}}})
		for name, tt := range map[string]struct {
			who  *person
			q    conversation.SearchRequest
			want string // the rooms of the hits with who wrote them, or the code of the refusal
		}{
			"the user":               {ann, conversation.SearchRequest{}, "hers/operator hers/user"},
			"the user, itself":       {ann, conversation.SearchRequest{UserID: "ann"}, "hers/operator hers/user"},
			"the user, somebody":     {ann, conversation.SearchRequest{UserID: "ben"}, "forbidden"},
			"the user, his":          {ann, conversation.SearchRequest{RoomID: his}, "forbidden"},
			"the user, free":         {ann, conversation.SearchRequest{RoomID: "free"}, "forbidden"},
			"the user, open":         {ann, conversation.SearchRequest{RoomID: "open-1"}, "open-1/user"},
			"the user, notes":        {ann, conversation.SearchRequest{Notes: true}, "forbidden"},
			"the user, own notes":    {ann, conversation.SearchRequest{RoomID: hers, Notes: true}, "forbidden"},
			"the user, reserved":     {ann, conversation.SearchRequest{RoomID: history.NotesRoom(hers)}, "bad_room"},
			"a user without any":     {d.user("cy"), conversation.SearchRequest{}, ""},
			"without rights":         {none, conversation.SearchRequest{}, ""},
			"an operator":            {anna, conversation.SearchRequest{}, "hers/operator hers/user his/user open-1/user"},
			"an operator, notes":     {anna, conversation.SearchRequest{Notes: true}, "hers/note hers/operator hers/user his/user open-1/user"},
			"an operator, of ben":    {anna, conversation.SearchRequest{UserID: "ben"}, "his/user"},
			"an operator, by anna":   {anna, conversation.SearchRequest{OperatorID: "anna"}, "hers/operator"},
			"an operator, free":      {anna, conversation.SearchRequest{RoomID: "free"}, "forbidden"},
			"some":                   {some, conversation.SearchRequest{Notes: true}, "his/user"},
			"some, another":          {some, conversation.SearchRequest{RoomID: hers}, "forbidden"},
			"somebody unknown":       {d.with(nil), conversation.SearchRequest{}, "forbidden"},
			"somebody unknown, open": {d.with(nil), conversation.SearchRequest{RoomID: "open-1"}, "not_joined"},
			"too long":               {anna, conversation.SearchRequest{Query: strings.Repeat("x", 201)}, "bad_payload"},
			"no word":                {anna, conversation.SearchRequest{Query: "!"}, "bad_payload"},
		} {
			if tt.q.Query == "" {
				tt.q.Query = "shoes"
			}
			found, err := tt.who.Search(ctx, tt.q)
			got := []string{}
			for _, h := range found.Hits {
				by := h.By
				if h.Note {
					by = "note"
				}
				room := h.RoomID
				if known, ok := names[room]; ok {
					room = known
				}
				got = append(got, room+"/"+by)
			}
			slices.Sort(got)
			if e, ok := err.(*chat.Error); ok {
				got = []string{string(e.Code)}
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if joined := strings.Join(got, " "); joined != tt.want {
				t.Errorf("%s found %q, want %q", name, joined, tt.want)
			}
		}
	})
}
