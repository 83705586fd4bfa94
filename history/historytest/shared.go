package historytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// shared is what stores that have the same data must be able to do.
type shared interface {
	rooms
	history.Editor
	history.Reads
	history.Changelog
	history.Records
}

// RunShared checks stores that have the same data at the same time, as those of several servers have. open
// must return at least two of them, with no data, which are closed when the test ends. Each of them must
// also pass [Run].
func RunShared(t *testing.T, open func(testing.TB) []history.Store) {
	inTurn := func(t testing.TB) history.Store { return &turns{stores: open(t)} }
	run(t, inTurn, []test[history.Store]{
		{"Visibility", testVisibility}, {"Atomicity", testAtomicity}, {"Contention", testContention}, {"Model", testModel},
	})
	run(t, inTurn, []test[rooms]{{"RoomsVisibility", testRoomsVisibility}, {"RoomsModel", testRoomsModel}})
	run(t, inTurn, []test[changelog]{{"FollowOrder", testFollowOrder}})
	t.Run("RecordsAtOnce", func(t *testing.T) { testRecordsAtOnce(t, inTurn(t).(history.Records)) })
	for _, test := range []struct {
		name  string
		check func([]history.Store) error
	}{
		{"RoomsOrder", checkRoomsOrder},
		{"RecordsOrder", checkRecordsOrder},
		{"AtOnce", checkAtOnce},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.check(open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// turns makes each call on the next one of some stores.
type turns struct {
	stores []history.Store
	calls  atomic.Int64
}

func (s *turns) next() shared { return s.stores[int(s.calls.Add(1))%len(s.stores)].(shared) }

func (s *turns) Append(ctx context.Context, drafts []history.Draft) ([]history.Appended, error) {
	return s.next().Append(ctx, drafts)
}

func (s *turns) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	return s.next().History(ctx, room, p)
}

func (s *turns) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	return s.next().Changes(ctx, room, since, l)
}

func (s *turns) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	return s.next().Heads(ctx, rooms)
}

func (s *turns) Epoch() string { return s.next().Epoch() }

func (s *turns) Close() error {
	var errs []error
	for _, store := range s.stores {
		errs = append(errs, store.Close())
	}
	return errors.Join(errs...)
}

func (s *turns) Message(ctx context.Context, room string, seq int64) (history.Message, error) {
	return s.next().Message(ctx, room, seq)
}

func (s *turns) Edit(ctx context.Context, e history.Edit) (history.Edited, error) {
	return s.next().Edit(ctx, e)
}

func (s *turns) Room(ctx context.Context, room string, by history.Member) (history.Room, error) {
	return s.next().Room(ctx, room, by)
}

func (s *turns) ListRooms(ctx context.Context, q history.RoomQuery) (history.RoomList, error) {
	return s.next().ListRooms(ctx, q)
}

func (s *turns) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (history.ChangedRooms, error) {
	return s.next().ChangedRooms(ctx, after, limit, by)
}

func (s *turns) CountRooms(ctx context.Context, by history.Member) (history.RoomCounts, error) {
	return s.next().CountRooms(ctx, by)
}

func (s *turns) CreateRoom(ctx context.Context, room string, c history.Conversation) (history.Room, error) {
	return s.next().CreateRoom(ctx, room, c)
}

func (s *turns) UpdateRoom(ctx context.Context, u history.RoomUpdate) (history.Updated, error) {
	return s.next().UpdateRoom(ctx, u)
}

func (s *turns) Person(ctx context.Context, userID string) (history.Person, error) {
	return s.next().Person(ctx, userID)
}

func (s *turns) PutPerson(ctx context.Context, p history.Person) (history.Person, error) {
	return s.next().PutPerson(ctx, p)
}

func (s *turns) Merge(ctx context.Context, visitor, user string, note func(string) *history.Draft) ([]history.Updated, error) {
	return s.next().Merge(ctx, visitor, user, note)
}

func (s *turns) Identities(ctx context.Context, userID string) ([]string, error) {
	return s.next().Identities(ctx, userID)
}

func (s *turns) FollowChanges(ctx context.Context, name string) (int64, error) {
	return s.next().FollowChanges(ctx, name)
}

func (s *turns) ReadChanges(ctx context.Context, after int64, limit int) ([]history.Change, error) {
	return s.next().ReadChanges(ctx, after, limit)
}

func (s *turns) PassChanges(ctx context.Context, name string, position int64) error {
	return s.next().PassChanges(ctx, name, position)
}

func (s *turns) Unfollow(ctx context.Context, name string) error { return s.next().Unfollow(ctx, name) }

func (s *turns) Record(ctx context.Context, kind, id string) (history.Record, error) {
	return s.next().Record(ctx, kind, id)
}

func (s *turns) RecordsSince(ctx context.Context, kind string, version int64) ([]history.Record, error) {
	return s.next().RecordsSince(ctx, kind, version)
}

func (s *turns) PutRecords(ctx context.Context, records ...history.Record) ([]history.Record, error) {
	return s.next().PutRecords(ctx, records...)
}

const (
	orderWriters = 3  // for each store
	orderEach    = 40 // things that each writer makes
)

// checkOrder checks that who follows an order misses nothing that is made meanwhile. Each thing is made
// once, so one that is missed stays missed. read returns the names after a position, and the next position.
func checkOrder(stores []history.Store, make func(s shared, name string) error, read func(s shared, after int64) ([]string, int64, error)) error {
	var failed atomic.Pointer[error]
	var writing sync.WaitGroup
	for i, store := range stores {
		for w := range orderWriters {
			writing.Go(func() {
				for n := range orderEach {
					if err := make(store.(shared), fmt.Sprint(i, " ", w, " ", n)); err != nil {
						failed.Store(&err)
						return
					}
				}
			})
		}
	}
	var ended atomic.Bool
	go func() { writing.Wait(); ended.Store(true) }()
	defer writing.Wait()
	seen := map[string]bool{}
	var after int64
	for turn, last := 0, false; ; turn++ {
		names, next, err := read(stores[turn%len(stores)].(shared), after)
		if err != nil {
			return err
		}
		if next < after {
			return fmt.Errorf("position %d after %d", next, after)
		}
		for _, name := range names {
			seen[name] = true
		}
		if after = next; len(names) > 0 {
			continue
		}
		if e := failed.Load(); e != nil {
			return *e
		}
		if last {
			break
		}
		last = ended.Load() // then read once more
		time.Sleep(time.Millisecond)
	}
	if want := len(stores) * orderWriters * orderEach; len(seen) != want {
		return fmt.Errorf("a follower saw %d of %d", len(seen), want)
	}
	return nil
}

func checkRoomsOrder(stores []history.Store) error {
	ctx := context.Background()
	return checkOrder(stores, func(s shared, name string) error {
		if name[len(name)-1]%2 == 0 {
			_, err := s.CreateRoom(ctx, name, history.Conversation{UserID: name})
			return err
		}
		d := draft(name, 1)
		d.Conversation = &history.Conversation{UserID: "ann"}
		results, err := s.Append(ctx, []history.Draft{d, draft(history.NotesRoom(name), 1)})
		if err == nil {
			err = results[0].Err
		}
		return err
	}, func(s shared, after int64) (names []string, next int64, err error) {
		changed, err := s.ChangedRooms(ctx, after, 5, nobodyAsks)
		for _, r := range changed.Rooms {
			names = append(names, r.RoomID)
		}
		return names, changed.Next, err
	})
}

func checkRecordsOrder(stores []history.Store) error {
	ctx := context.Background()
	return checkOrder(stores, func(s shared, name string) error {
		_, err := s.PutRecords(ctx, record("k", name, "1", 0))
		return err
	}, func(s shared, after int64) (names []string, next int64, err error) {
		records, err := s.RecordsSince(ctx, "k", after)
		next = after
		for _, r := range records {
			names, next = append(names, r.ID), r.Version
		}
		return names, next, err
	})
}

// checkAtOnce makes all kinds of changes of the same rooms and people through all stores at once. Nothing
// fails, and the numbers of each room are those of a room that was changed by one after the other.
func checkAtOnce(stores []history.Store) error {
	ctx := context.Background()
	const rooms, each = 6, 25
	var mu sync.Mutex
	var errs []error
	var group sync.WaitGroup
	for i, s := range stores {
		store := s.(shared)
		for w := range 4 {
			group.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(w)))
				room := func() string { return fmt.Sprint("room ", random.IntN(rooms)) }
				for n := range each {
					var err error
					switch w {
					case 0: // many rooms in any order, some of them again and again
						var drafts []history.Draft
						for k := range 10 {
							d := say(room(), ann, n)
							d.ClientID = fmt.Sprint(i, " ", n, " ", k)
							drafts = append(drafts, d)
						}
						if _, err = store.Append(ctx, drafts); err == nil {
							var again []history.Appended
							again, err = stores[(i+1)%len(stores)].Append(ctx, drafts)
							for _, r := range again {
								if err == nil && (r.Err != nil || !r.Dup) {
									err = fmt.Errorf("appended again: %+v", r)
								}
							}
						}
					case 1:
						u := history.RoomUpdate{RoomID: room(), Subject: pointer(fmt.Sprint(i, n))}
						note := draft(history.NotesRoom(u.RoomID), n)
						u.Note = &note
						_, err = store.UpdateRoom(ctx, u)
					case 2:
						_, err = store.PutPerson(ctx, history.Person{UserID: "ann", Name: fmt.Sprint("Ann ", i, n)})
						if err == nil {
							_, err = store.Merge(ctx, fmt.Sprint("visitor ", i, n), "ann", nil)
						}
					case 3:
						name := room()
						if _, err = store.MarkRead(ctx, name, op1, int64(n)); err == nil {
							_, err = store.Edit(ctx, edit(name, random.Int64N(20)+1, n))
						}
					}
					if err != nil && !errors.Is(err, history.ErrNotFound) { // the room may not exist yet
						mu.Lock()
						errs = append(errs, fmt.Errorf("store %d, writer %d: %w", i, w, err))
						mu.Unlock()
					}
				}
			})
		}
	}
	group.Wait()
	appended := 0
	for n := range rooms {
		name := fmt.Sprint("room ", n)
		var numbers []int64
		clients := map[string]bool{}
		last := history.Time{}
		for after, more := int64(-1), true; more; {
			s, err := stores[n%len(stores)].History(ctx, name, history.Page{After: after, Limit: history.Limit{Messages: history.MaxLimit}})
			if err != nil {
				return err
			}
			for _, m := range s.Messages {
				if after = m.Seq; m.Timestamp.Before(last.Time) || clients[m.ClientID] {
					errs = append(errs, fmt.Errorf("%s: %+v after %v, or again", name, m, last))
				}
				last, clients[m.ClientID] = m.Timestamp, true
				numbers = append(numbers, m.Seq, m.Number())
			}
			more = s.MoreAfter
			if !more {
				appended += len(clients)
				slices.Sort(numbers)
				numbers = slices.Compact(numbers)
				if len(numbers) > 0 && (numbers[0] != 1 || numbers[len(numbers)-1] != s.Head) {
					errs = append(errs, fmt.Errorf("%s: numbers from %d to %d, head %d", name, numbers[0], numbers[len(numbers)-1], s.Head))
				}
			}
		}
	}
	if want := len(stores) * each * 10; appended != want {
		errs = append(errs, fmt.Errorf("%d messages, want %d", appended, want))
	}
	return errors.Join(errs...)
}
