package parley

import "sync"

// workers runs the inboxes of sockets, each on its own goroutine. A goroutine with nothing left to
// do is kept for the next socket. A new goroutine would first have to grow its stack, which took a
// fifth of the time of a small event.
type workers struct {
	mu   sync.Mutex
	idle []chan *Socket // the most recently used last
	done bool
}

// maxIdleWorkers limits the number of idle goroutines, of some 8 KiB each.
const maxIdleWorkers = 64

// run makes a goroutine call s.work soon.
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
	// Keep this much of the stack in use while waiting. Otherwise the garbage collector would halve
	// the stack each time, and the next handler would double it again.
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

// close ends the idle goroutines. The others end when they finish their work.
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
