package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/feeds"
	"github.com/parley-go/parley/sse"
)

// Faults make a server forget one rule each. Call them before Serve.
var Faults = map[string]func(*Server){
	"history without a right": func(s *Server) {
		instead(s, conversation.History, func(p *parley.Packet, q conversation.HistoryRequest) (any, error) {
			return s.anyPage(q.RoomID, q.RoomID)
		}, func(q conversation.HistoryRequest) bool { return !q.Notes })
	},
	"notes for users": func(s *Server) {
		instead(s, conversation.History, func(p *parley.Packet, q conversation.HistoryRequest) (any, error) {
			return s.anyPage(history.NotesRoom(q.RoomID), q.RoomID)
		}, func(q conversation.HistoryRequest) bool { return q.Notes })
	},
	"search in all rooms": func(s *Server) {
		instead(s, conversation.Search, func(p *parley.Packet, q conversation.SearchRequest) (any, error) {
			return s.store.(history.Searcher).Search(context.Background(), history.SearchQuery{Text: q.Query})
		}, nil)
	},
	"feeds of other users": func(s *Server) {
		anybody := &auth.Identity{Subject: "bot", Role: auth.Service}
		s.feeds = feeds.New(s.chat, func(*http.Request) (*auth.Identity, error) { return anybody, nil }, &sse.Options{})
		s.routes, _ = s.newRoutes()
	},
	"a refresh leaves rights": func(s *Server) {
		instead(s, conversation.Refresh, func(p *parley.Packet, q conversation.TokenRequest) (any, error) {
			payload, _ := json.Marshal(q)
			_, err := p.Socket().Renew(context.Background(), payload)
			return conversation.Expiry{}, err
		}, nil)
	},
	"a merge leaves memberships": func(s *Server) {
		instead(s, conversation.Identify, func(p *parley.Packet, q conversation.TokenRequest) (any, error) {
			payload, _ := json.Marshal(q)
			visitor := p.Socket().Identity()
			if !visitor.Visitor {
				return nil, &parley.Error{Code: string(conversation.Forbidden)}
			}
			_, err := p.Socket().Become(context.Background(), payload, func(user *auth.Identity) error {
				_, err := s.history.Merge(context.Background(), visitor.Subject, user.Subject, func(string) *history.Draft { return nil })
				if err != nil {
					return &parley.Error{Code: string(conversation.Conflicted)}
				}
				return p.Socket().Data().(*chat.Client).SetIdentity(context.Background(), user)
			})
			return conversation.Identified{}, err
		}, nil)
	},
	"feeds of revoked tokens go on": func(s *Server) {
		s.feeds = feeds.New(s.chat, func(r *http.Request) (*auth.Identity, error) {
			who, err := s.gate.follower(r)
			if err != nil {
				return nil, err
			}
			forgetful := *who
			forgetful.TokenID = ""
			return &forgetful, nil
		}, &sse.Options{})
		s.routes, _ = s.newRoutes()
	},
	"feeds take keys that were removed": func(s *Server) {
		var known sync.Map
		s.feeds = feeds.New(s.chat, func(r *http.Request) (*auth.Identity, error) {
			shown := r.Header.Get("Authorization")
			who, err := s.gate.follower(r)
			if err == nil {
				forgetful := *who
				forgetful.Issuer, forgetful.TokenID = "", "" // or it would be refused later
				known.Store(shown, &forgetful)
			} else if was, ok := known.Load(shown); ok {
				return was.(*auth.Identity), nil
			}
			return who, err
		}, &sse.Options{})
		s.routes, _ = s.newRoutes()
	},
	"exports of users have other rooms": func(s *Server) {
		s.store = leaky{Memory: s.store.(*history.Memory), names: true}
	},
	"erased users are quoted elsewhere": func(s *Server) {
		s.history = history.NewLog(leaky{Memory: s.store.(*history.Memory)}, nil)
	},
}

// leaky is a store that exports and erases wrongly.
type leaky struct {
	*history.Memory
	names bool
}

func (l leaky) RoomNames(ctx context.Context, user, after string, limit int) ([]string, error) {
	if l.names {
		user = ""
	}
	return l.Memory.RoomNames(ctx, user, after, limit)
}

// EraseUser leaves what the user said in the rooms of others, and who the user was.
func (l leaky) EraseUser(ctx context.Context, user string) (e history.Erased, err error) {
	would, err := l.Erasing(ctx, user, "")
	for _, room := range would.Rooms {
		erased, failed := l.EraseRoom(ctx, room)
		err = errors.Join(err, failed)
		e.Rooms, e.Messages = append(e.Rooms, erased.Rooms...), e.Messages+erased.Messages
	}
	return e, err
}

// instead answers the requests of an event that match, in place of their handler.
func instead[Q, R any](s *Server, e event.RPC[Q, R], answer func(*parley.Packet, Q) (any, error), match func(Q) bool) {
	s.sockets.UseEvent(func(p *parley.Packet) error {
		var q Q
		if p.Name() != string(e) || p.Decode(&q) != nil || match != nil && !match(q) {
			return nil
		}
		a, err := answer(p, q)
		if err == nil {
			err = p.Ack(a)
		}
		if err == nil {
			err = parley.ErrDisconnected // so that the handler does not run
		}
		return err
	})
}

func (s *Server) anyPage(log, room string) (any, error) {
	slice, err := s.history.Changes(context.Background(), log, 0, history.Limit{Messages: 500, Bytes: 1 << 20})
	return chat.Page{RoomID: room, Messages: slice.Messages}, err
}
