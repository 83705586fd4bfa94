package parley

import (
	"slices"
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
	turn     int32         // counts how often it has started to wait
	finished chan struct{} // closed when socket becomes nil; made by whoever waits for that
	claimant *Socket       // the socket that is about to take over

	identity *auth.Identity // of the former socket; see who
	left     time.Time
	data     any
}

// who returns the identity that the comeback's client has proved; nil without Options.Authorize.
func (c *comeback) who() *auth.Identity {
	if c.live {
		return c.socket.Identity() // it may have been renewed
	}
	return c.identity
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
	there := func(room string) bool {
		return slices.ContainsFunc(c.stays, func(t stay) bool {
			return t.room == room && t.from < rec.offset && rec.offset <= t.to
		})
	}
	return (rec.all || slices.ContainsFunc(rec.rooms, there)) && !slices.ContainsFunc(rec.except, there)
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
	first := r.firstLocked()
	c.stays = slices.DeleteFunc(c.stays, func(t stay) bool {
		forget := t.from == t.to || t.to < first || t.to != stillThere && ended > maxStays
		if forget {
			ended--
			if t.from != t.to && t.to >= first {
				c.floor = max(c.floor, t.to)
			}
		}
		return forget
	})
}
