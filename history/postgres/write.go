package postgres

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/appending"
	"github.com/parley-go/parley/history/internal/changes"
)

// tx is a transaction that changes the store. It takes locks in this order, so that two never wait for
// each other:
//
//	the gate     which changes share
//	people       in the order of their locks
//	new rooms    which it inserts in the order of their ids
//	rooms        in the order of their ids
//	counters     with the last statement before the commit
//
// A transaction takes two or three round trips: one locks and reads, and one writes and commits. The lock
// of the counters, for which the transactions of all nodes wait, is held only from the last statement to
// the end of the commit, within one round trip.
type tx struct {
	s    *Store
	conn *pgxpool.Conn
	now  int64

	followed bool // the changelog is written
	people   map[string]history.Person
	owned    map[string][]string // conversations of these people
	merged   map[string]bool     // which of them were visitors
	rooms    map[string]*room    // which are locked

	originals map[appending.Key]history.Message // what drafts may repeat; see lookUp

	messages   messageRows
	bumps      int64  // changes of conversations
	packed     []byte // changes for the changelog
	positions  int64  // how many they are
	writes     pgx.Batch
	last       pgx.Batch // what is read after everything was written
	committing bool
}

// room is a row of rooms that is locked.
type room struct {
	appending.Room // changes of conversations begin with 1 in each transaction; 0: none
	floor          int64
}

// errAgain says that a transaction must begin anew, because a room has been erased since it was known.
var errAgain = errors.New("a room is gone")

// write calls f with a transaction that has begun, and commits what f has prepared. If another transaction
// is in the way, or the connection is lost before the commit, f is called again: it must begin anew. An
// error of f ends the transaction. Canceling ctx has an effect only until the transaction begins.
func (s *Store) write(ctx context.Context, doing string, f func(context.Context, *tx) error) error {
	return s.writing(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		t := &tx{s: s, conn: conn, now: s.now().UnixMilli(), rooms: make(map[string]*room)}
		err := f(ctx, t)
		if err == nil {
			err = t.commit(ctx)
		}
		if err == nil {
			return nil
		}
		if !conn.Conn().IsClosed() && conn.Conn().PgConn().TxStatus() != 'I' {
			_, e := conn.Exec(ctx, "ROLLBACK")
			if e != nil {
				conn.Conn().Close(ctx)
			}
		}
		if t.committing && !refuses(err) {
			return history.ErrUnknownOutcome.Wrap("commit", err)
		}
		return err
	})
}

// writing calls f with a connection when it is its turn.
func (s *Store) writing(ctx context.Context, doing string, f func(context.Context, *pgxpool.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return history.ErrUnavailable.Wrap(doing, err)
	}
	if !s.begin() {
		return history.ErrClosed
	}
	defer s.calls.Done()
	select {
	case s.writers <- struct{}{}:
	case <-ctx.Done():
		return history.ErrUnavailable.Wrap(doing, ctx.Err())
	}
	defer func() { <-s.writers }()
	ctx = context.WithoutCancel(ctx)
	attempt := func() error {
		// The server limits each statement; this is for a server that does not answer.
		ctx, cancel := context.WithTimeout(ctx, 2*s.opt.Timeout)
		defer cancel()
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return lost{err}
		}
		defer conn.Release()
		err = f(ctx, conn)
		leave(ctx, conn.Conn(), err)
		if err != nil && !errors.Is(err, history.ErrUnknownOutcome) && conn.Conn().IsClosed() {
			err = lost{err}
		}
		return err
	}
	const attempts = 10
	for n := 1; ; n++ {
		err := s.persist(ctx, attempt)
		if err == nil {
			return nil
		}
		state := sqlState(err)
		if n < attempts && (state == serializationFailure || state == deadlockDetected || errors.Is(err, errAgain)) {
			continue
		}
		s.refused(err)
		return unavailable(doing, err)
	}
}

// lock begins the transaction and locks people, then rooms, and reads them. Rooms of make are made if they
// do not exist; of others, only those are locked that exist. The rooms of all conversations of the people
// are among them.
func (t *tx) lock(ctx context.Context, people, make, others []string) error {
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	b.Queue("SELECT pg_advisory_xact_lock_shared($1)", gateLock)
	if len(people) > 0 {
		t.queuePeople(&b, people)
		if err := t.send(ctx, &b); err != nil {
			return err
		}
		b = pgx.Batch{}
		for _, names := range t.owned {
			others = append(others, names...)
		}
	}
	t.queueRooms(&b, make, others)
	if err := t.send(ctx, &b); err != nil {
		return err
	}
	for _, name := range make {
		if t.rooms[name] == nil {
			t.s.known.forget(name)
			return errAgain
		}
	}
	return nil
}

// send runs the statements of a batch in one round trip.
func (t *tx) send(ctx context.Context, b *pgx.Batch) error { return t.conn.SendBatch(ctx, b).Close() }

// queuePeople locks and reads people, and the names of their conversations.
func (t *tx) queuePeople(b *pgx.Batch, people []string) {
	t.people, t.owned, t.merged = make(map[string]history.Person), make(map[string][]string), make(map[string]bool)
	locks := make([]int64, 0, len(people))
	for _, id := range people {
		t.owned[id] = nil
		h := fnv.New64a()
		h.Write([]byte(id))
		locks = append(locks, int64(h.Sum64()|1<<63)) // never one of ours
	}
	slices.Sort(locks)
	for _, lock := range slices.Compact(locks) {
		b.Queue("SELECT pg_advisory_xact_lock($1)", lock)
	}
	b.Queue("SELECT "+personColumns+" FROM parley.people WHERE id = ANY($1)", people).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			p, err := scanPerson(rows)
			if err != nil {
				return err
			}
			t.people[p.UserID] = p
		}
		return rows.Err()
	})
	b.Queue("SELECT DISTINCT became FROM parley.people WHERE became = ANY($1)", people).Query(func(rows pgx.Rows) error {
		var user string
		_, err := pgx.ForEachRow(rows, []any{&user}, func() error { t.merged[user] = true; return nil })
		return err
	})
	b.Queue("SELECT user_id, room_id FROM parley.rooms WHERE user_id = ANY($1) ORDER BY id", people).Query(func(rows pgx.Rows) error {
		var user, name string
		_, err := pgx.ForEachRow(rows, []any{&user, &name}, func() error {
			t.owned[user] = append(t.owned[user], name)
			return nil
		})
		return err
	})
}

const (
	// makeQuery numbers the rooms in the order of its argument. Numbers are few, so rooms that exist take
	// none.
	makeQuery = `INSERT INTO parley.rooms (id, room_id) SELECT id, x FROM (
		SELECT x, nextval('parley.rooms_id_seq') AS id FROM unnest($1::text[]) WITH ORDINALITY AS u(x, n)
		WHERE NOT EXISTS (SELECT 1 FROM parley.rooms WHERE room_id = x) ORDER BY n) y
		ORDER BY x COLLATE "C" ON CONFLICT (room_id) DO NOTHING RETURNING room_id`

	// lockQuery locks in the order of room_id, whatever the plan: the locks are taken after the sorting.
	lockQuery = `SELECT room_id, id, head, floor, last_at, coalesce(user_id, ''), coalesce(operator_id, ''), coalesce(status, ''),
		coalesce(closed_at, 0), coalesce(waiting_at, 0), merged, (SELECT followed FROM parley.counters) FROM parley.rooms WHERE room_id = ANY($1) ORDER BY room_id FOR NO KEY UPDATE`
)

// queueRooms makes, locks and reads rooms.
func (t *tx) queueRooms(b *pgx.Batch, make, others []string) {
	var fresh []string
	made := map[string]bool{}
	for _, name := range make {
		if !t.s.known.has(name) {
			fresh = append(fresh, name)
		}
	}
	if len(fresh) > 0 {
		b.Queue(makeQuery, fresh).Query(func(rows pgx.Rows) error {
			var name string
			_, err := pgx.ForEachRow(rows, []any{&name}, func() error { made[name] = true; return nil })
			return err
		})
	}
	b.Queue(lockQuery, slices.Concat(make, others)).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var r room
			var c appending.Conversation
			var name string
			if err := rows.Scan(&name, &r.ID, &r.Head, &r.floor, &r.LastAt,
				&c.UserID, &c.OperatorID, &c.Status, &c.ClosedAt, &c.WaitingAt, &c.Merged, &t.followed); err != nil {
				return err
			}
			if c.UserID != "" {
				r.Conversation = &c
			}
			r.Absent = made[name]
			t.rooms[name] = &r
		}
		return rows.Err()
	})
	if len(fresh) == 0 {
		return
	}
	hashes := map[string]string{}
	keys := [][]byte{}
	for _, name := range fresh {
		key := t.s.erasedKey(name)
		hashes[string(key)] = name
		keys = append(keys, key)
	}
	b.Queue("SELECT room, head FROM parley.erased WHERE room = ANY($1)", keys).Query(func(rows pgx.Rows) error {
		var key []byte
		var head int64
		_, err := pgx.ForEachRow(rows, []any{&key, &head}, func() error {
			if r := t.rooms[hashes[string(key)]]; r != nil && r.Absent {
				r.Head, r.floor = head, head
			}
			return nil
		})
		return err
	})
}

// Bump implements [appending.Transaction].
func (t *tx) Bump(r *appending.Room) {
	r.Dirty = true
	if r.Conversation != nil {
		t.bumps++
		r.Conversation.Change = t.bumps
	}
}

// roomChanged gives the next change to a conversation because of something else than a message.
func (t *tx) roomChanged(r *appending.Room) {
	t.Bump(r)
	t.Changed(history.RoomChanged, r.ID, r.Conversation.Change, 0)
}

// Changed implements [appending.Transaction]. Numbers of changes of conversations begin with 1 in each
// transaction.
func (t *tx) Changed(kind history.ChangeKind, room, number, seq int64) {
	if t.followed {
		t.packed = changes.Append(t.packed, changes.Change{Kind: kind, Room: room, Number: number, Seq: seq})
		t.positions++
	}
}

// messageRows are new messages, as columns.
type messageRows struct {
	rooms, seqs, timestamps               []int64
	users, operators, contents, clientIDs []string
}

func (r *messageRows) add(room int64, m *history.Message) {
	r.rooms, r.seqs, r.timestamps = append(r.rooms, room), append(r.seqs, m.Seq), append(r.timestamps, m.Timestamp.UnixMilli())
	r.users, r.operators = append(r.users, m.UserID), append(r.operators, m.OperatorID)
	r.contents, r.clientIDs = append(r.contents, string(m.Message)), append(r.clientIDs, m.ClientID)
}

const (
	insertQuery = `INSERT INTO parley.messages (room, seq, timestamp, user_id, operator_id, message, client_id)
		SELECT room, seq, timestamp, nullif(u, ''), nullif(o, ''), message, nullif(c, '')
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
		AS x(room, seq, timestamp, u, o, message, c)`

	// headsQuery is for rooms that belong to nobody.
	headsQuery = `UPDATE parley.rooms r SET head = x.head, floor = x.floor, last_at = x.last_at
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS x(id, head, floor, last_at) WHERE r.id = x.id`

	// countQuery takes numbers from the counters, and everything that needs them.
	countQuery = `WITH c AS (UPDATE parley.counters SET change = change + $1, position = position + $2
			RETURNING change - $1 AS base, position),
		l AS (INSERT INTO parley.changelog SELECT position, base, $3 FROM c WHERE $2 > 0)
		UPDATE parley.rooms r SET head = x.head, floor = x.floor, last_at = x.last_at, listed_at = x.last_at, user_id = x.u, operator_id = nullif(x.o, ''), status = x.status,
			closed_at = nullif(x.closed, 0), waiting_at = nullif(x.waiting, 0), merged = x.merged,
			change = CASE WHEN x.change > 0 THEN c.base + x.change ELSE r.change END
		FROM c, unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[],
			$11::bigint[], $12::bigint[], $13::boolean[], $14::bigint[])
			AS x(id, head, floor, last_at, u, o, status, closed, waiting, merged, change) WHERE r.id = x.id`
)

// commit writes everything, with the counters last, and commits.
func (t *tx) commit(ctx context.Context) error {
	b := &t.writes
	if m := &t.messages; len(m.seqs) > 0 {
		b.Queue(insertQuery, m.rooms, m.seqs, m.timestamps, m.users, m.operators, m.contents, m.clientIDs)
	}
	var free, owned roomRows
	var unused []int64
	for _, name := range slices.Sorted(maps.Keys(t.rooms)) {
		switch r := t.rooms[name]; {
		case r.Absent:
			unused = append(unused, r.ID)
		case !r.Dirty:
		case r.Conversation == nil:
			free.add(r)
		default:
			owned.add(r)
		}
	}
	if len(unused) > 0 {
		b.Queue("DELETE FROM parley.rooms WHERE id = ANY($1)", unused)
	}
	if len(free.ids) > 0 {
		b.Queue(headsQuery, free.ids, free.heads, free.floors, free.lastAts)
	}
	if t.bumps > 0 || t.positions > 0 || len(owned.ids) > 0 {
		b.Queue(countQuery, t.bumps, t.positions, t.packed, owned.ids, owned.heads, owned.floors, owned.lastAts,
			owned.users, owned.operators, owned.statuses, owned.closed, owned.waiting, owned.merged, owned.changes)
	}
	b.QueuedQueries = append(b.QueuedQueries, t.last.QueuedQueries...)
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return errors.New("the transaction was rolled back")
		}
		return nil
	})
	t.committing = true
	if err := t.send(ctx, b); err != nil {
		return err
	}
	for name, r := range t.rooms {
		if !r.Absent {
			t.s.known.add(name)
		}
	}
	if t.positions > 0 {
		t.s.tellFollower()
	}
	return nil
}

// roomRows are rows of rooms, as columns. Those of free rooms have only the first ones.
type roomRows struct {
	ids, heads, floors, lastAts []int64
	users, operators, statuses  []string
	closed, waiting             []int64
	merged                      []bool
	changes                     []int64
}

func (w *roomRows) add(r *room) {
	w.ids, w.heads, w.floors, w.lastAts = append(w.ids, r.ID), append(w.heads, r.Head), append(w.floors, r.floor), append(w.lastAts, r.LastAt)
	if c := r.Conversation; c != nil {
		w.users, w.operators, w.statuses = append(w.users, c.UserID), append(w.operators, c.OperatorID), append(w.statuses, string(c.Status))
		w.closed, w.waiting = append(w.closed, c.ClosedAt), append(w.waiting, c.WaitingAt)
		w.merged, w.changes = append(w.merged, c.Merged), append(w.changes, c.Change)
	}
}

// known remembers rooms that exist, which need not be made. It is safe for concurrent use.
type known struct {
	mu    sync.Mutex
	names map[string]struct{}
}

const maxKnown = 1 << 16 // rooms; about 10 MB

func (k *known) has(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.names[name]
	return ok
}

func (k *known) add(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.names == nil || len(k.names) >= maxKnown {
		k.names = make(map[string]struct{})
	}
	k.names[name] = struct{}{}
}

func (k *known) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.names, name)
}

func (k *known) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.names = nil
}

// tellFollower wakes the goroutine that follows within the store.
func (s *Store) tellFollower() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}
