package engine

import (
	"context"
	"errors"

	"github.com/parley-go/parley/internal/eio"
)

// upgrade changes from polling to a WebSocket:
//
//	client                          server
//	ping probe, over the WebSocket  →
//	                                ←  pong probe; the pending poll ends
//	(waits until no request of polling is running; takes nothing from the queue)
//	upgrade                         →
//	everything else, over the WebSocket
//
// If that fails before, the session stays on polling.
func (s *Session) upgrade() {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.OpenTimeout)
	defer cancel()
	s.mu.Lock()
	s.giveUp = cancel
	ended := s.closed
	s.mu.Unlock()
	if ended {
		return
	}
	t, err := s.dialWebSocket(ctx)
	if err != nil {
		return
	}
	t.begin()
	s.mu.Lock()
	ended = s.closed
	if !ended {
		s.probe = t
	}
	s.mu.Unlock()
	if ended {
		t.cut()
		return
	}
	t.mu.Lock()
	gone := t.gone
	t.mu.Unlock()
	if gone {
		s.abandon(t)
		return
	}
	t.send(eio.Packet{Type: eio.Ping, Data: []byte(eio.Probe)})
	select {
	case <-t.settled:
	case <-ctx.Done():
		s.abandon(t)
	}
}

// probed handles what arrives over the probe.
func (s *Session) probed(p eio.Packet) error {
	s.mu.Lock()
	if s.held || p.Type != eio.Pong || string(p.Data) != eio.Probe {
		s.mu.Unlock()
		return errors.New("engine: the server's answer to the probe is not one")
	}
	s.held = true
	old, ok := s.transport.(*polling)
	s.mu.Unlock()
	if ok {
		old.quiesce(s.switched)
	}
	return nil
}

// switched makes the probe the transport. The old one has come to its end.
func (s *Session) switched() {
	s.mu.Lock()
	t := s.probe
	if s.closed || t == nil {
		s.mu.Unlock()
		return
	}
	s.transport, s.probe, s.held = t, nil, false
	paused := s.paused != nil
	s.mu.Unlock()
	t.settle()
	t.send(eio.Packet{Type: eio.Upgrade})
	t.pause(paused)
	t.wake()
}

// abandon gives up the upgrade to t.
func (s *Session) abandon(t transport) {
	s.mu.Lock()
	if s.probe == nil || t != s.probe {
		s.mu.Unlock()
		return
	}
	probe, held := s.probe, s.held
	s.probe, s.held = nil, false
	old, ok := s.transport.(*polling)
	s.mu.Unlock()
	probe.settle()
	probe.cut()
	if held && ok {
		old.resume()
	}
}
