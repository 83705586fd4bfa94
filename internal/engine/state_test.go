package engine

import (
	"strings"
	"testing"
)

// A session can change its state only as the table in the documentation says.
func TestStates(t *testing.T) {
	allowed := map[[2]state]bool{
		{opening, open}: true,
		{open, closing}: true, {open, closed}: true,
		{closing, lingering}: true, {closing, closed}: true,
		{lingering, closing}: true, {lingering, closed}: true,
	}
	srv, err := NewServer(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(t.Context())
	for from := opening; from <= closed; from++ {
		for to := opening; to <= closed; to++ {
			s := &Session{srv: srv, state: from, transport: &polling{}}
			failed := func() (failed bool) {
				defer func() {
					if e := recover(); e != nil {
						failed = strings.Contains(e.(string), from.String()) && strings.Contains(e.(string), to.String())
					}
				}()
				s.changeLocked(to)
				return false
			}()
			if want := allowed[[2]state{from, to}]; failed == want {
				t.Errorf("from %v to %v: panic %v", from, to, failed)
			} else if want && s.state != to {
				t.Errorf("from %v to %v: it is %v", from, to, s.state)
			}
			srv.wheel.clear(&s.beat.timer)
		}
	}
}
