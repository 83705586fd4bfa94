package peers

import (
	"net/http"
	"time"
)

// Never is a time that is too old.
const Never = never

// Seal puts a seal of p for the receiver on a request, as it is at a time of the receiver's clock.
func (p *Peers) Seal(r *http.Request, receiver *Peers, at time.Duration) {
	s := seal{to: receiver.self.ID.String(), time: at, nonce: p.lastNonce.Add(1), client: "192.0.2.7:1234", secure: true}
	p.sign(&s, r)
}

// Clock returns the time on p's own clock.
func (p *Peers) Clock() time.Duration { return time.Since(p.began) }

// Drift changes what p knows of the clock of the server with a tag, and when it has learned it.
func (p *Peers) Drift(tag string, by, ago time.Duration) {
	o, _ := p.owner(tag)
	c := *o.clock.Load()
	c.offset += by
	c.at -= ago
	o.clock.Store(&c)
}

// Nonces returns how many nonces are remembered.
func (p *Peers) Nonces() int { return len(p.seen.young) + len(p.seen.old) }
