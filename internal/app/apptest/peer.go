package apptest

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// patience bounds every wait of the tests; nothing that works comes near it.
const patience = 2 * time.Minute

// Peer is a Client whose failures are the test's. Its methods are for the test's own
// goroutine.
type Peer struct {
	*Client
	t testing.TB
}

// Dial connects for the time of the test.
func Dial(t testing.TB, url string) *Peer {
	t.Helper()
	return dial(t, url, nil)
}

// DialFrom is Dial from an address, as a proxy reports it.
func DialFrom(t testing.TB, url, address string) *Peer {
	t.Helper()
	return dial(t, url, http.Header{"X-Forwarded-For": {address}})
}

func dial(t testing.TB, url string, header http.Header) *Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := ConnectWith(ctx, url, header)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(c.Close)
	return &Peer{c, t}
}

// Send sends an event that wants no acknowledgement.
func (p *Peer) Send(event string, args ...any) {
	p.t.Helper()
	if err := p.Emit(context.Background(), event, args...); err != nil {
		p.t.Fatalf("send %s: %v", event, err)
	}
}

// Ask sends an event and decodes its acknowledgement into reply.
func (p *Peer) Ask(event string, arg, reply any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Call(ctx, event, arg, reply); err != nil {
		p.t.Fatalf("ask %s: %v", event, err)
	}
}

// Expect decodes the next event of that name into v. Others stay.
func (p *Peer) Expect(event string, v any) {
	p.t.Helper()
	packet := p.take(func(p Packet) bool { return p.Event == event }, event)
	if err := packet.Decode(v); err != nil {
		p.t.Fatalf("%s: %v", event, err)
	}
}

// Next returns the next packet, whatever it is.
func (p *Peer) Next() Packet {
	p.t.Helper()
	return p.take(func(Packet) bool { return true }, "packet")
}

func (p *Peer) take(match func(Packet) bool, what string) Packet {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	packet, err := p.Take(ctx, match)
	if err != nil {
		p.t.Fatalf("wait for %s: %v", what, err)
	}
	return packet
}
