package chat

import (
	"slices"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/budget"
)

// A member that types may say so at each key. The others learn of a change at most once in
// typingEvery, and that it still goes on once in typingAgain. The last state always arrives.
const (
	typingEvery = 300 * time.Millisecond
	typingAgain = time.Second
)

// maxPreview is the maximum number of characters of a text that is being typed.
const maxPreview = 500

// Typing tells the others in the room whether the client is typing and, if the service has previews,
// tells operators what.
func (c *Client) Typing(room string, typing bool, text string) error {
	m, err := c.member(room)
	if err != nil {
		return err
	}
	a := m.access.Load()
	if err := a.need(auth.Write); err != nil {
		return err
	}
	if utf8.RuneCountInString(text) > maxPreview {
		return Refuse(BadPayload, "text must have at most %d characters", maxPreview)
	}
	if !c.service.opts.Preview || a.view() != trimmed || !typing {
		text = ""
	}
	if !typing || c.may(typingOf) { // the end must arrive
		m.place.types(typing, text)
	}
	return nil
}

// typing is what is known of one member.
type typing struct {
	is     bool      // it types
	text   string    // what, for operators
	fresh  bool      // they do not know the text yet
	told   bool      // what the others know
	at     time.Time // when they were told
	queued bool      // it is in typers.waiting
}

// typers are members with news for the others.
type typers struct {
	budget  budget.Balance // of announcements
	waiting []*place
	timer   *time.Timer // runs while someone waits
}

// types notes whether the member types, and tells the others if that is news.
func (p *place) types(is bool, text string) {
	r, t := p.room, &p.typing
	r.mu.Lock()
	defer r.mu.Unlock()
	t.fresh = t.fresh || text != t.text
	t.is, t.text = is, text
	if t.queued || !t.newsLocked() {
		return
	}
	t.queued = true
	r.typers.waiting = append(r.typers.waiting, p)
	r.tellTypingLocked()
}

func (t *typing) newsLocked() bool {
	return t.is != t.told || t.is && (t.fresh || time.Since(t.at) >= typingAgain)
}

// tellTypingLocked announces who types, as far as the limits allow it now. It begins with the member
// whose last announcement was longest ago.
func (r *room) tellTypingLocked() {
	w := &r.typers
	for len(w.waiting) > 0 {
		p := slices.MinFunc(w.waiting, func(a, b *place) int { return a.typing.at.Compare(b.typing.at) })
		if p.typing.newsLocked() { // it may have changed its mind
			wait := typingEvery - time.Since(p.typing.at)
			if wait <= 0 {
				if wait = w.budget.Allow(r.limit(budget.Typing), 1); wait > 0 {
					r.of.service.slowed[budget.Typing].Add(1)
				}
			}
			if wait > 0 {
				w.againLocked(r, wait)
				return
			}
			r.sayTypingLocked(p)
		}
		w.dropLocked(p)
	}
}

// sayTypingLocked tells the others whether a member types.
func (r *room) sayTypingLocked(p *place) {
	t := &p.typing
	t.told, t.at, t.fresh = t.is, time.Now(), false
	m := &p.member
	news := conversation.TypingNews{RoomID: r.id, UserID: m.UserID, OperatorID: m.OperatorID, Name: m.Name, Typing: t.is, Text: t.text}
	r.announceLocked(whole, string(conversation.Typing), news, p.peer)
	if p.peer != nil {
		r.sayLocked(saying{Typing: &typingWord{sharedMember{*m, p.converses()}, t.is, t.text}})
	}
	if p.converses() {
		news.Text = ""
		r.announceLocked(trimmed, string(conversation.Typing), news, p.peer)
	}
}

// endTypingLocked is called when a member leaves.
func (r *room) endTypingLocked(p *place) {
	if p.typing.queued {
		r.typers.dropLocked(p)
	}
	if p.typing.is, p.typing.text = false, ""; p.typing.told {
		r.sayTypingLocked(p)
	}
}

// againLocked makes sure that tellTypingLocked is called after a time.
func (w *typers) againLocked(r *room, after time.Duration) {
	if w.timer != nil {
		w.timer.Reset(after)
		return
	}
	w.timer = time.AfterFunc(after, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tellTypingLocked()
	})
}

// dropLocked takes a member out of those that wait.
func (w *typers) dropLocked(p *place) {
	p.typing.queued = false
	w.waiting = slices.DeleteFunc(w.waiting, func(other *place) bool { return other == p })
	if len(w.waiting) == 0 {
		w.waiting = nil
		if w.timer != nil {
			w.timer.Stop()
			w.timer = nil
		}
	}
}
