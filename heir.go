package parley

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
)

// A server that leaves gives what it has to another one.
const (
	maxBequeath  = 30 * time.Second // for everything
	bequeathPart = 256              // comebacks at once
	adopters     = 16               // comebacks that a server takes over at the same time
)

// bequeath gives all comebacks whose clients are away to the server with the fewest sockets. m may be nil.
func (m *moves) bequeath(ctx context.Context) {
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, maxBequeath)
	defer cancel()
	refused := map[adapter.NodeID]bool{}
	for _, h := range m.handovers() {
		left := h.away()
		for len(left) > 0 && ctx.Err() == nil {
			heir, ok := m.heir(refused)
			if !ok {
				m.srv.log.Warn("parley: sessions end because no other server of the cluster takes them", "namespace", h.nsp.name, "sessions", len(left))
				break
			}
			part := left[:min(len(left), bequeathPart)]
			if _, err := ask[int](ctx, m, heir.ID, askAdopt, pidsOf{h.nsp.name: part}); err != nil {
				refused[heir.ID] = true
				continue
			}
			left = left[len(part):]
		}
	}
	for _, h := range m.handovers() {
		h.settle(ctx)
	}
	_ = m.serving.wait(ctx)
}

// heir returns the server that takes over what this one has.
func (m *moves) heir(refused map[adapter.NodeID]bool) (heir adapter.Node, ok bool) {
	others := slices.DeleteFunc(m.exchange.Nodes()[1:], func(n adapter.Node) bool { return n.Draining || refused[n.ID] })
	if len(others) == 0 {
		return heir, false
	}
	return slices.MinFunc(others, func(a, b adapter.Node) int { return cmp.Compare(a.Sockets, b.Sockets) }), true
}

// adopt takes over comebacks of a server that leaves. It returns their number.
func (m *moves) adopt(from adapter.NodeID, q pidsOf) *int {
	ctx, cancel := context.WithTimeout(context.Background(), maxBequeath)
	defer cancel()
	n := 0
	for _, namespace := range slices.Sorted(maps.Keys(q)) {
		nsp, err := m.srv.resolve(ctx, namespace, nil)
		if err != nil || nsp == nil {
			continue
		}
		pids := make(chan string)
		var workers sync.WaitGroup
		for range min(adopters, len(q[namespace])) {
			workers.Go(func() {
				for pid := range pids {
					nsp.local.recovery.handover.fetch(ctx, &wanted{pid: pid, heirOf: &from})
				}
			})
		}
		for _, pid := range q[namespace] {
			pids <- pid
		}
		close(pids)
		workers.Wait()
		m.srv.release(nsp)
		n += len(q[namespace])
	}
	return &n
}

// away returns the pids of the comebacks whose clients are away.
func (h *handover) away() (pids []string) {
	h.recovery.mu.Lock()
	defer h.recovery.mu.Unlock()
	for pid, c := range h.recovery.comebacks {
		if !c.live {
			pids = append(pids, pid)
		}
	}
	return pids
}

// settle waits until no other server is about to take a comeback.
func (h *handover) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, h.moves().patience)
	defer cancel()
	for h.isAsked() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

func (h *handover) isAsked() bool {
	h.recovery.mu.Lock()
	defer h.recovery.mu.Unlock()
	for _, c := range h.recovery.comebacks {
		if c.claimant != nil && c.claimant.socket == nil {
			return true
		}
	}
	return false
}
