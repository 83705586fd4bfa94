package chat

import (
	"sync"
	"time"
)

// A herald announces changes of many subjects that are not stored: each subject at most once in a
// time, and at most heraldRound of them in a round. The last state always goes out. It has a timer
// while there is something to announce, or a subject rests. It is safe for concurrent use.
type herald struct {
	every time.Duration // between two announcements of a subject
	// announce tells whoever it concerns how a subject is now. The calls are made one at a time.
	announce func(subject string)

	mu       sync.Mutex
	subjects map[string]*subject
	queue    []*subject  // each once; those that have waited longest are the first
	timer    *time.Timer // not nil: a round will be or is being made
}

// A subject is in the queue while it has news, and while it rests after an announcement.
type subject struct {
	name  string
	news  bool
	rests time.Time // until then
}

const (
	heraldEvery = 250 * time.Millisecond // between two rounds
	heraldRound = 100
)

// changed says that there is news about a subject.
func (h *herald) changed(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.subjects[name]
	if s == nil {
		s = &subject{name: name}
		h.subjects = put(h.subjects, name, s)
		h.queue = append(h.queue, s)
	}
	s.news = true
	if h.timer == nil {
		h.timer = time.AfterFunc(0, h.round)
	}
}

// round announces the news of subjects that do not rest.
func (h *herald) round() {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	queue := h.queue
	h.queue = nil
	var served []*subject
	for i, s := range queue {
		switch {
		case now.Before(s.rests):
			h.queue = append(h.queue, s)
		case !s.news:
			delete(h.subjects, s.name)
		default:
			s.news, s.rests = false, now.Add(h.every)
			served = append(served, s)
		}
		if len(served) == heraldRound { // the others wait
			h.queue = append(h.queue, queue[i+1:]...)
			break
		}
	}
	h.mu.Unlock()
	for _, s := range served {
		h.announce(s.name)
	}
	h.mu.Lock()
	h.queue = append(h.queue, served...)
	h.timer = nil
	if len(h.queue) > 0 {
		h.timer = time.AfterFunc(heraldEvery, h.round)
	}
}
