package chat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// A door is a way to reach a room. Letters name the doors in the table of TestRights.
type door struct {
	letter rune
	open   func(p *person, room string) error
}

var doors = []door{
	{'j', func(p *person, room string) error {
		_, err := p.tryJoin(conversation.JoinRequest{RoomID: room})
		return err
	}},
	{'n', func(p *person, room string) error {
		_, err := p.tryJoin(conversation.JoinRequest{RoomID: room, Notes: true})
		return err
	}},
	{'h', func(p *person, room string) error {
		_, err := p.History(p.desk.Context(), conversation.HistoryRequest{RoomID: room})
		return err
	}},
	{'i', func(p *person, room string) error {
		_, err := p.History(p.desk.Context(), conversation.HistoryRequest{RoomID: room, Notes: true})
		return err
	}},
	{'f', func(p *person, room string) error {
		stop, err := p.desk.Follow(p.desk.Context(), chat.FollowRequest{RoomID: room, Who: p.Identity(), Address: "192.0.2.1"}, &ears{})
		if err == nil {
			stop()
		}
		return err
	}},
	{'s', func(p *person, room string) error {
		_, err := p.trySend(conversation.SendRequest{RoomID: room, Message: text("s")})
		return err
	}},
	{'t', func(p *person, room string) error { return p.Typing(room, true, "") }},
	{'m', func(p *person, room string) error { _, err := p.mark(room, 1); return err }},
	{'u', func(p *person, room string) error {
		_, err := p.MarkUnread(p.desk.Context(), conversation.MarkRequest{RoomID: room, Seq: 1})
		return err
	}},
	{'e', func(p *person, room string) error { // what ann wrote
		_, err := p.EditMessage(p.desk.Context(), conversation.EditRequest{RoomID: room, Seq: 1, Message: text("e")})
		return err
	}},
	{'c', func(p *person, room string) error {
		_, err := p.ClaimRoom(p.desk.Context(), conversation.RoomRequest{RoomID: room})
		return err
	}},
	{'g', func(p *person, room string) error {
		_, err := p.TransferRoom(p.desk.Context(), conversation.TransferRequest{RoomID: room, OperatorID: holder("")})
		return err
	}},
	{'x', func(p *person, room string) error {
		_, err := p.CloseRoom(p.desk.Context(), conversation.CloseRequest{RoomID: room})
		return err
	}},
	{'o', func(p *person, room string) error {
		_, err := p.ReopenRoom(p.desk.Context(), conversation.RoomRequest{RoomID: room})
		return err
	}},
	{'w', func(p *person, room string) error {
		_, err := p.Answered(p.desk.Context(), conversation.RoomRequest{RoomID: room})
		return err
	}},
	{'l', func(p *person, room string) error {
		_, err := p.UpdateRoom(p.desk.Context(), conversation.UpdateRequest{RoomID: room, AddLabels: []string{"l"}})
		return err
	}},
	{'a', func(p *person, room string) error {
		_, err := p.AddNote(p.desk.Context(), conversation.NoteRequest{RoomID: room, Message: text("a")})
		return err
	}},
	{'q', func(p *person, room string) error {
		_, err := p.Search(p.desk.Context(), conversation.SearchRequest{RoomID: room, Query: "s"})
		return err
	}},
	{'d', func(p *person, room string) error { // what ann wrote
		_, err := p.DeleteMessage(p.desk.Context(), conversation.DeleteRequest{RoomID: room, Seq: 1})
		return err
	}},
}

// Who may what, by identity and room: the letters of the doors that are open. A door that is not must
// be refused with the code that follows.
func TestRights(t *testing.T) {
	const (
		ofOwner    = "jhfstmexoqd"
		reads      = "jhfmq"
		readsNotes = "jnhifmuq"
		ofOperator = "jnhifstmucgxowlaqd"
		all        = "jnhifstmuecgxowlaqd"
		member     = "jhfstmq"
		author     = "jhfstmeqd"
		operator   = "jhfstmuq" // in a room that is nobody's
		manager    = "jhfstmueqd"
	)
	user := func(id string) *auth.Identity { return &auth.Identity{Subject: id, Role: auth.User} }
	granted := func(role auth.Role, pattern, rights string) *auth.Identity {
		r, err := auth.ParseRights(rights)
		if err != nil {
			t.Fatal(err)
		}
		return &auth.Identity{Subject: "gil", Role: role, Grants: auth.Grants{{Pattern: pattern, Rights: r}}}
	}
	for _, tt := range []struct {
		name                            string
		who                             *auth.Identity
		conversation, free, open, notes string // letters by room
	}{
		{"nobody", nil, "", "", "", ""},
		{"the user", user("ann"), ofOwner, "", author, ""},
		{"another user", user("ben"), "", "", member, ""},
		{"a visitor", &auth.Identity{Subject: "v_1", Role: auth.User, Visitor: true}, "", "", member, ""},
		{"an operator", &auth.Identity{Subject: "anna", Role: auth.Operator}, ofOperator, "", operator, ""},
		{"an admin", &auth.Identity{Subject: "ada", Role: auth.Admin}, all, "", manager, ""},
		{"a service", &auth.Identity{Subject: "bot", Role: auth.Service}, all, manager, manager, ""},
		{"a user that may read", granted(auth.User, "*", "r"), reads, reads, reads, ""},
		{"a user that may manage", granted(auth.User, "*", "rwpm"), "jhfstmxoqd", member + "d", member + "d", ""},
		{"a user without rights", granted(auth.User, "*", ""), "", "", "", ""},
		{"an operator that may read", granted(auth.Operator, "*", "r"), readsNotes, "jhfmuq", "jhfmuq", ""},
		{"an operator elsewhere", granted(auth.Operator, "order-*", "rwpm"), "", "", "", ""},
		{"a user of its own room", granted(auth.User, "{sub}-*", "rw"), "", "", "", ""},
	} {
		for i, want := range []string{tt.conversation, tt.free, tt.open, tt.notes} {
			kind := []string{"a conversation", "a free room", "an open room", "notes"}[i]
			t.Run(tt.name+" in "+kind, func(t *testing.T) {
				atDesk(t, func(o *chat.Options) {
					o.OpenRooms = auth.Grants{{Pattern: "open-*", Rights: auth.Read | auth.Write | auth.See}}
				}, func(d *desk) {
					room := d.user("ann").start("hello")
					if i > 0 {
						room = []string{1: "free", 2: "open-1", 3: history.NotesRoom(room)}[i]
						if _, err := d.store.Append(d.Context(), []history.Draft{{RoomID: room, UserID: "ann", Message: text("free")}}); err != nil {
							d.Fatal(err)
						}
					}
					p := d.with(tt.who)
					open := ""
					for _, door := range doors {
						err := door.open(p, room)
						var refused *chat.Error
						if !errors.As(err, &refused) {
							if err != nil {
								d.Errorf("%c: %v", door.letter, err)
							}
							open += string(door.letter)
							continue
						}
						allowed := map[chat.Code]bool{chat.Forbidden: true, chat.NotJoined: true}
						if i == 3 {
							allowed = map[chat.Code]bool{chat.BadRoom: true}
						} else if i > 0 { // who may manage it finds no conversation
							allowed[chat.NotFound] = true
						}
						if door.letter == 'j' && refused.Code == chat.Forbidden && !strings.Contains(refused.Message, "open-rooms") {
							d.Errorf("the refusal does not say what would give the right: %v", err)
						}
						if refused.Code == chat.Unavailable && door.letter == 'q' {
							open += "q" // only the store cannot
						} else if !allowed[refused.Code] {
							d.Errorf("%c: refused with %v", door.letter, err)
						}
					}
					if fmt.Sprint(open) != want {
						d.Errorf("open are %q, want %q", open, want)
					}
				})
			})
		}
	}
}

// bare is a store that can do nothing but store.
type bare struct{ history.Store }

// What the store cannot do is refused, and said.
func TestStoreWithoutCapabilities(t *testing.T) {
	inService(t, bare{history.NewMemory()}, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		if lacks := s.Lacks(); len(lacks) != 5 {
			t.Errorf("it lacks %q", lacks)
		}
		d := &desk{T: t, Service: s, hall: h}
		ann, anna := d.user("ann"), d.operator("anna")
		ann.join("r")
		ann.send("r", "hello")
		_, err := ann.StartConversation(t.Context(), conversation.StartRequest{})
		wantCode(t, err, chat.Unavailable)
		_, err = ann.EditMessage(t.Context(), conversation.EditRequest{RoomID: "r", Seq: 1, Message: text("m")})
		wantCode(t, err, chat.Unavailable)
		_, err = ann.mark("r", 1)
		wantCode(t, err, chat.Unavailable)
		_, err = ann.Search(t.Context(), conversation.SearchRequest{RoomID: "r", Query: "m"})
		wantCode(t, err, chat.Unavailable)
		_, err = anna.GetPerson(t.Context(), conversation.PersonRequest{UserID: "ann"})
		wantCode(t, err, chat.Unavailable)
		if hello, err := ann.Hello(t.Context(), conversation.HelloRequest{}); err != nil || hello.Settings.Search {
			t.Errorf("hello: %+v, %v", hello, err)
		}
	})
}

// counting is a store that counts how often it is asked for a room.
type counting struct {
	*history.Memory
	rooms atomic.Int32
}

func (s *counting) Room(ctx context.Context, room string, by history.Member) (history.Room, error) {
	s.rooms.Add(1)
	return s.Memory.Room(ctx, room, by)
}

// Many who come to a room that is nobody's ask the store about it once.
func TestFreeRoomIsAskedForOnce(t *testing.T) {
	store := &counting{Memory: history.NewMemory()}
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		if lacks := s.Lacks(); len(lacks) != 0 {
			t.Errorf("the store in memory lacks %q", lacks)
		}
		d := &desk{T: t, Service: s, hall: h}
		for range 10 {
			d.with(nil).join("r")
		}
		if n := store.rooms.Load(); n != 1 {
			t.Errorf("%d times", n)
		}
	})
}
