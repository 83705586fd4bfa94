package app_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app/apptest"
)

// follower checks the stream of one client: starting with the page of joinRoom, every message of
// the room arrives once and in order, until the client leaves the room.
type follower struct {
	*apptest.Client
	room    string
	next    int64 // seq of the next live message; 0: not in the room
	joining map[int64]bool
	leaving map[int64]bool
	after   int64 // of a join that continues; -1 for any other join
	epoch   string
}

func follow(ctx context.Context, url, room string) (*follower, error) {
	c, err := apptest.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	return &follower{Client: c, room: room, joining: map[int64]bool{}, leaving: map[int64]bool{}, after: -1}, nil
}

func (f *follower) join(ctx context.Context, request object) error {
	request["roomId"] = f.room
	id, err := f.EmitID(ctx, "joinRoom", request)
	f.joining[id] = true
	return err
}

func (f *follower) leave(ctx context.Context) error {
	id, err := f.EmitID(ctx, "leaveRoom", object{"roomId": f.room})
	f.leaving[id] = true
	return err
}

// step reads the next packet. It reports whether it was an acknowledgement.
func (f *follower) step(ctx context.Context) (acknowledged bool, err error) {
	p, err := f.Take(ctx, func(apptest.Packet) bool { return true })
	switch {
	case err != nil:
		return false, err
	case p.Event == "newMessage":
		var m message
		if err := p.Decode(&m); err != nil {
			return false, err
		}
		if m.Seq != f.next {
			return false, fmt.Errorf("message %d, want %d", m.Seq, f.next)
		}
		f.next++
	case p.Event == "error":
		return false, fmt.Errorf("error event %s", p.Args[0])
	case p.Event == "" && f.joining[p.ID]:
		var a answer
		if err := p.Decode(&a); err != nil || a.Error.Code != "" {
			return false, fmt.Errorf("joinRoom: %s, %v", a.Error.Code, err)
		}
		return true, f.page(a)
	case p.Event == "" && f.leaving[p.ID]:
		f.next = 0
		return true, nil
	}
	return false, nil
}

func (f *follower) page(a answer) error {
	f.epoch, f.next = a.Epoch, a.LastSeq+1
	expected := a.LastSeq - int64(len(a.Messages)) + 1
	if f.after >= 0 && expected != f.after+1 {
		return fmt.Errorf("page of %d up to %d, want it from %d on", len(a.Messages), a.LastSeq, f.after+1)
	}
	for _, m := range a.Messages {
		if m.Seq != expected {
			return fmt.Errorf("page: message %d, want %d", m.Seq, expected)
		}
		expected++
	}
	return nil
}

// until reads until the messages up to seq have arrived.
func (f *follower) until(ctx context.Context, seq int64) error {
	for f.next <= seq {
		if _, err := f.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Many clients join, leave and join again while others send. Then the server restarts, and all
// clients continue from their last position.
func TestEveryStreamIsGapFree(t *testing.T) {
	const (
		rooms, senders, followers = 2, 3, 6 // per room
		messages                  = 60      // per sender
		total                     = senders * messages
	)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := testConfig()
	c.Data = t.TempDir()
	i := start(t, c)

	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		ends []*follower
	)
	spawn := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	for r := range rooms {
		room := fmt.Sprint("room", r)
		for n := range senders {
			spawn(func() error {
				s, err := apptest.Connect(ctx, i.url)
				if err != nil {
					return err
				}
				defer s.Close()
				if err := s.Call(ctx, "joinRoom", object{"roomId": room, "userId": fmt.Sprint("s", n)}, new(answer)); err != nil {
					return err
				}
				for m := range messages {
					if err := s.Call(ctx, "sendMessage", object{"roomId": room, "message": m}, new(object)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for n := range followers {
			spawn(func() error {
				f, err := follow(ctx, i.url, room)
				if err != nil {
					return err
				}
				mu.Lock()
				ends = append(ends, f)
				mu.Unlock()
				if err := f.join(ctx, object{"limit": 5}); err != nil {
					return err
				}
				for turns := 0; f.next <= total; {
					acknowledged, err := f.step(ctx)
					if err != nil {
						return fmt.Errorf("%s, follower %d: %w", room, n, err)
					}
					if !acknowledged {
						continue
					}
					// Even followers leave and join again; odd ones join twice.
					turns++
					switch {
					case turns > 40 || n == 0:
					case f.next == 0 || n%2 == 1:
						err = f.join(ctx, object{"limit": 5})
					default:
						err = f.leave(ctx)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	wg.Wait()
	for _, f := range ends {
		f.Close()
	}
	if t.Failed() {
		return
	}

	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	i = start(t, c)
	last := i.dial(t)
	for r := range rooms {
		join(t, last, object{"roomId": fmt.Sprint("room", r), "userId": "u"})
		if m := send(t, last, object{"roomId": fmt.Sprint("room", r), "message": "after the restart"}); m.Seq != total+1 {
			t.Errorf("seq %d, want %d", m.Seq, total+1)
		}
	}
	for n, old := range ends {
		f, err := follow(ctx, i.url, old.room)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.after = int64(n * total / len(ends))
		if err := f.join(ctx, object{"after": f.after, "epoch": old.epoch}); err != nil {
			t.Fatal(err)
		}
		if err := f.until(ctx, total+1); err != nil {
			t.Error(err)
		}
	}
}
