package parley

import "sync"

// workers runs the inboxes of sockets, each on a goroutine. A goroutine that has nothing
// left to do is kept for the next socket: a new one would have to grow its stack first,
// which took a fifth of the time that a small event costs.
type workers struct {
	mu   sync.Mutex
	idle []chan *Socket // the most recently used last
	done bool
}

// maxIdleWorkers bounds what is kept, at some 8 KiB each.
const maxIdleWorkers = 64

// run has s.work called soon.
func (w *workers) run(s *Socket) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		next := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		next <- s
		return
	}
	w.mu.Unlock()
	go w.serve(s)
}

func (w *workers) serve(s *Socket) {
	// While it waits, this much of its stack is in use, or the garbage collector would halve
	// it each time, only for the next handler to double it again.
	var stack [stackInUse]byte
	touch(&stack)
	var next chan *Socket // made if this goroutine is kept
	for {
		s.work()
		if next == nil {
			next = make(chan *Socket, 1)
		}
		w.mu.Lock()
		if w.done || len(w.idle) >= maxIdleWorkers {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, next)
		w.mu.Unlock()
		if s = <-next; s == nil {
			return
		}
	}
}

// close ends the goroutines that are idle, and each of the others when it is done.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	for _, next := range w.idle {
		close(next)
	}
	w.idle = nil
}

const stackInUse = 2 << 10 // a quarter of the smallest stack that handlers fit in

//go:noinline
func touch(b *[stackInUse]byte) { b[0] = 1 }
