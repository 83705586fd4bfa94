package parley

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
)

// comeback is the state that a client may come back to. It belongs to one socket at a time. It is
// guarded by recovery.mu.
type comeback struct {
	pid, id string
	floor   uint64 // events up to this one are known not to concern the client, or are forgotten
	stays   []stay

	socket   *Socket       // the current owner, until its last handler has run; otherwise nil
	live     bool          // socket is connected
	barred   bool          // nobody may come back to it
	bare     bool          // values of keys have stayed on another server
	turn     int32         // counts how often it has started to wait
	finished chan struct{} // closed when socket becomes nil; made by whoever waits for that
	claimant *attempt      // is about to take over

	identity *auth.Identity // of the former socket; see who
	left     time.Duration  // when that disconnected, since recovery.born
	data     any
	moved    *moved // nil if it has always been here
}

// who returns the identity that the comeback's client has proved; nil without Options.Authorize.
func (c *comeback) who() *auth.Identity {
	if c.live {
		return c.socket.Identity() // it may have been renewed
	}
	return c.identity
}

// attempt is an attempt to take a comeback over.
type attempt struct {
	socket *Socket       // nil: by another server
	since  position      // of that one's client
	ticket uint64        // that server's
	over   chan struct{} // that server's: closed when it has got the comeback, or will not
}

// claim makes a the attempt that is about to take c over; nil: none.
func (c *comeback) claim(a *attempt) {
	if c.claimant != nil && c.claimant.over != nil {
		close(c.claimant.over)
	}
	c.claimant = a
}

func (c *comeback) claimedBy(s *Socket) bool { return c.claimant != nil && c.claimant.socket == s }

// position says what a client has received: the first steps of comeback.moved.trail, and our events up
// to an offset.
type position struct {
	steps  int
	offset uint64
}

// moved is what a comeback has brought from other servers.
type moved struct {
	came  time.Time
	start uint64 // our newest event at that time: from here on, what the client receives is ours
	trail []step // what other servers have sent or kept, oldest first
}

// step is an offset of another server, which the client may name.
type step struct {
	offset string
	event  bool     // of an event that was kept for the client; otherwise the beginning of a server's offsets
	id     eventID  // of the event
	rooms  []string // through which it concerned the client; nil if that does not matter
}

// reaches reports whether the client that names this offset has what came up to the step.
func (s *step) reaches(offset string) bool {
	epoch, number, _ := strings.Cut(offset, ".")
	ours, least, _ := strings.Cut(s.offset, ".")
	return epoch == ours && len(number) == len(least) && number >= least
}

// position returns what a client has received that names this offset as the last one.
func (c *comeback) position(r *recovery, offset string) (at position, known bool) {
	n, ours := r.parse(offset)
	m := c.moved
	switch {
	case m == nil && offset == "":
		return position{offset: c.floor}, true
	case m == nil:
		return position{offset: n}, ours
	case ours && n >= m.start:
		return position{len(m.trail), n}, true
	}
	for i := len(m.trail) - 1; i >= 0; i-- {
		if m.trail[i].reaches(offset) {
			return position{i + 1, m.start}, true
		}
	}
	return position{}, false
}

// after returns the steps after a position. m may be nil.
func (m *moved) after(at position) []step {
	if m == nil {
		return nil
	}
	return m.trail[min(at.steps, len(m.trail)):]
}

// passed notes that the client has named a position: what came before it will not be needed any more.
func (c *comeback) passed(at position) {
	if m := c.moved; m != nil && at.steps == len(m.trail) && at.offset > m.start {
		m.trail = nil
	}
}

// stay is a period in which a socket was in a room: the events after from, up to and including to.
type stay struct {
	room     string
	from, to uint64
}

const (
	stillThere = ^uint64(0) // the end of a stay that continues

	// maxStays limits the number of ended stays that are kept for a comeback. If some stays were
	// dropped, the client can be recovered only from a later event on.
	maxStays = 64
)

// concerns reports whether the event was meant for the client.
func (c *comeback) concerns(rec *record) bool {
	if rec.only != nil {
		return rec.only == c
	}
	if slices.Contains(rec.skip, c) {
		return false
	}
	there := func(room string) bool {
		return slices.ContainsFunc(c.stays, func(t stay) bool {
			return t.room == room && t.from < rec.offset && rec.offset <= t.to
		})
	}
	return (rec.all || slices.ContainsFunc(rec.rooms, there)) && !slices.ContainsFunc(rec.except, there)
}

// rooms are those that the socket is in, or was in when it left.
func (c *comeback) rooms() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, t := range c.stays {
			if t.to == stillThere && !yield(t.room) {
				return
			}
		}
	}
}

func (c *comeback) isIn(room string) bool {
	return slices.ContainsFunc(c.stays, func(t stay) bool { return t.room == room && t.to == stillThere })
}

// joined records that the socket has joined a room. c may be nil; r is then nil too. The caller
// holds recovery.mu.
func (c *comeback) joined(r *recovery, room string) {
	if c == nil {
		return
	}
	i := slices.IndexFunc(c.stays, func(t stay) bool { return t.room == room && t.to == r.last })
	if i >= 0 {
		c.stays[i].to = stillThere // nothing has been sent since it left
		return
	}
	c.stays = append(c.stays, stay{room, r.last, stillThere})
}

// parted records that the socket has left a room, under the same conditions.
func (c *comeback) parted(r *recovery, room string) {
	if c == nil {
		return
	}
	ended := 0
	for i := range c.stays {
		t := &c.stays[i]
		if t.room == room && t.to == stillThere {
			t.to = r.last
		}
		if t.to != stillThere {
			ended++
		}
	}
	c.stays = slices.DeleteFunc(c.stays, func(t stay) bool {
		forget := t.from == t.to || t.to <= r.dropped || t.to != stillThere && ended > maxStays
		if forget {
			ended--
			if t.from != t.to && t.to > r.dropped {
				c.floor = max(c.floor, t.to)
			}
		}
		return forget
	})
}
