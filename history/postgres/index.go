package postgres

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/changes"
	"github.com/parley-go/parley/internal/words"
)

// The index of words follows the changelog, so that writing it never holds up a commit. At first it also
// goes through the messages that exist. One node at a time makes a step: a transaction, which takes the
// next changes, or the next messages, and passes the changes. So any node can take over at any time.
//
// PostgreSQL's index (GIN) knows all messages with a word, but it cannot tell the newest of them first: for
// a frequent word it would have to read all. So messages belong to chunks of a bounded size, each of one
// day, and what is indexed is not a word but a chunk with a word. A search goes from chunk to chunk, from
// the newest on, and what it reads of each is bounded. Within a day, chunks are in the order in which they
// were made.

const (
	indexFollower = "search"
	indexRows     = 1000 // messages that are indexed in one step
	chunkDocs     = 4096

	// maxWord is how many bytes of a word are indexed. A query is shorter.
	maxWord = history.MaxSearch + 1
	// maxWords is how many bytes of words of a message are indexed; PostgreSQL's limit is a mebibyte. A
	// message with more is not indexed by its words: each search of its chunk looks at it.
	maxWords = 512 << 10
	anyWords = "*"

	indexPause = 200 * time.Millisecond // in which changes are collected
	buildPause = 5 * time.Millisecond
	indexRetry = time.Second     // after a failure, or while another node makes a step
	indexLook  = 5 * time.Second // for changes of nodes that have ended
	dayMillis  = 24 * 60 * 60 * 1000
)

// index makes steps, in a goroutine.
type index struct {
	store  *Store
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
}

// openIndex starts the index, or removes it.
func (s *Store) openIndex(ctx context.Context) error {
	if !s.opt.Search {
		return s.removeIndex(ctx)
	}
	err := s.writing(ctx, "open the index", func(ctx context.Context, conn *pgxpool.Conn) error {
		return begin(ctx, conn, func(tx pgx.Tx) error {
			if _, err := follow(ctx, tx, indexFollower); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO parley.search DEFAULT VALUES ON CONFLICT DO NOTHING")
			return err
		})
	})
	if err != nil {
		return err
	}
	x := &index{store: s, done: make(chan struct{})}
	ctx, x.cancel = context.WithCancel(context.Background())
	s.index = x
	go x.run(ctx)
	return nil
}

// removeIndex removes an index that was there.
func (s *Store) removeIndex(ctx context.Context) error {
	var exists bool
	if err := s.one(ctx, "SELECT EXISTS (SELECT 1 FROM parley.search)", nil, &exists); err != nil || !exists {
		return err
	}
	if err := s.Unfollow(ctx, indexFollower); err != nil {
		return err
	}
	return s.writing(ctx, "remove the index", func(ctx context.Context, conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, "TRUNCATE parley.search, parley.docs, parley.chunks")
		return err
	})
}

// close ends the goroutine. It is nil if there is none.
func (x *index) close() {
	if x != nil {
		x.cancel()
		<-x.done
	}
}

// run makes steps until the index is closed. After a failure it tries again. It logs only the first of
// several failures.
func (x *index) run(ctx context.Context) {
	defer close(x.done)
	failing := false
	for ctx.Err() == nil {
		began := time.Now()
		did, err := x.step(ctx)
		pause, news := indexPause, (<-chan struct{})(nil)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing && x.store.faults.now.Load() == nil && !errors.Is(err, history.ErrClosed) {
				x.store.log.Error("the index of words cannot be written: search finds nothing new", "error", err)
			}
			pause = indexRetry
		case did == others:
			pause = indexRetry
		case did == more: // leave half of a processor to those who write
			pause = max(buildPause, time.Since(began))
		default:
			news = x.store.news
		}
		if failing && err == nil {
			x.store.log.Info("the index of words is written again")
		}
		failing = err != nil
		if news != nil {
			select {
			case <-news:
			case <-time.After(indexLook):
			case <-ctx.Done():
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// did says what came of a step.
type did int

const (
	nothing did = iota // there is nothing to do
	more               // there may be more to do
	others             // another node makes a step
)

// step brings the index forward.
func (x *index) step(ctx context.Context) (result did, err error) {
	err = x.store.writing(ctx, "index words", func(ctx context.Context, conn *pgxpool.Conn) error {
		return begin(ctx, conn, func(tx pgx.Tx) (err error) {
			result, err = step(ctx, tx)
			return err
		})
	})
	return result, err
}

func step(ctx context.Context, tx pgx.Tx) (did, error) {
	var mine bool
	if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", indexLock).Scan(&mine); err != nil || !mine {
		return others, err
	}
	var position, room, seq int64
	var complete bool
	err := tx.QueryRow(ctx, `SELECT f.position, s.room, s.seq, s.complete FROM parley.search s, parley.followers f WHERE f.name = $1`,
		indexFollower).Scan(&position, &room, &seq, &complete)
	if errors.Is(err, pgx.ErrNoRows) {
		return nothing, nil // another node has removed the index
	} else if err != nil {
		return nothing, err
	}
	entries, err := readChanges(ctx, tx, position, indexRows)
	if err != nil {
		return nothing, err
	}
	if len(entries) > 0 {
		if err := followWords(ctx, tx, entries); err != nil {
			return nothing, err
		}
		position = entries[len(entries)-1].Position
		var b pgx.Batch
		b.Queue("UPDATE parley.followers SET position = $2 WHERE name = $1", indexFollower, position)
		b.Queue(passedQuery, changes.Chunk)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return nothing, err
		}
	}
	if !complete {
		if complete, err = buildWords(ctx, tx, room, seq); err != nil {
			return nothing, err
		}
	}
	if len(entries) > 0 || !complete {
		return more, nil
	}
	return nothing, nil
}

// followWords indexes what has changed.
func followWords(ctx context.Context, tx pgx.Tx, entries []changes.Change) error {
	var rooms, seqs []int64
	var b pgx.Batch
	for _, e := range entries {
		switch e.Kind {
		case history.MessageAdded, history.MessageChanged:
			rooms, seqs = append(rooms, e.Room), append(seqs, e.Seq)
		case history.MessagesPruned:
			b.Queue("DELETE FROM parley.docs WHERE room = $1 AND seq <= $2", e.Room, e.Number)
		case history.RoomErased:
			b.Queue("DELETE FROM parley.docs WHERE room = $1", e.Room)
		}
	}
	// Messages that are gone are not among those that are read.
	messages, err := sources(ctx, tx, `SELECT DISTINCT m.room, m.seq, m.timestamp, CASE WHEN m.deleted THEN 'null' ELSE m.message END
		FROM unnest($1::bigint[], $2::bigint[]) AS x(room, seq) JOIN parley.messages m ON m.room = x.room AND m.seq = x.seq`, rooms, seqs)
	if err != nil {
		return err
	}
	if err := setWords(ctx, tx, messages); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b).Close()
}

// buildWords indexes the next messages of the first build, after a key, and reports whether it is over.
func buildWords(ctx context.Context, tx pgx.Tx, room, seq int64) (complete bool, err error) {
	messages, err := sources(ctx, tx, `SELECT m.room, m.seq, m.timestamp, CASE WHEN m.deleted THEN 'null' ELSE m.message END
		FROM parley.messages m WHERE (m.room, m.seq) > ($1, $2) ORDER BY m.room, m.seq LIMIT $3`, room, seq, indexRows)
	if err != nil {
		return false, err
	}
	if err := setWords(ctx, tx, messages); err != nil {
		return false, err
	}
	if n := len(messages); n > 0 {
		room, seq = messages[n-1].room, messages[n-1].seq
	}
	complete = len(messages) < indexRows
	_, err = tx.Exec(ctx, "UPDATE parley.search SET room = $1, seq = $2, complete = $3", room, seq, complete)
	return complete, err
}

// source is a message to index.
type source struct {
	room, seq, at int64
	words         string // each once, separated by spaces
}

// sources returns the messages that a query selects. Their texts may be large, so they are not kept.
func sources(ctx context.Context, q querier, query string, args ...any) (messages []source, err error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m source
		var message []byte
		if err := rows.Scan(&m.room, &m.seq, &m.at, &message); err != nil {
			return nil, err
		}
		split := words.Split(words.Text(message))
		size := 0
		for i, w := range split {
			if len(w) > maxWord {
				split[i] = strings.ToValidUTF8(w[:maxWord], "")
			}
			size += len(split[i]) + len("chunks/")
		}
		slices.Sort(split)
		m.words = strings.Join(slices.Compact(split), " ")
		if size > maxWords {
			m.words = anyWords
		}
		messages = append(messages, m)
	}
	return messages, rows.Err()
}

// chunk is a chunk to which documents are added.
type chunk struct{ number, docs, added int64 }

// setWords makes the words of messages those that the index has. A message without words is not in it. A
// message that is known stays in its chunk.
func setWords(ctx context.Context, tx pgx.Tx, messages []source) error {
	if len(messages) == 0 {
		return nil
	}
	var rooms, seqs, days []int64
	for _, m := range messages {
		rooms, seqs, days = append(rooms, m.room), append(seqs, m.seq), append(days, m.at/dayMillis)
	}
	type docKey struct{ room, seq int64 }
	known := make(map[docKey]int64) // chunks
	open := make(map[int64]*chunk)  // by day
	var b pgx.Batch
	b.Queue(`DELETE FROM parley.docs d USING unnest($1::bigint[], $2::bigint[]) AS x(room, seq)
		WHERE d.room = x.room AND d.seq = x.seq RETURNING d.room, d.seq, d.chunk`, rooms, seqs).Query(func(rows pgx.Rows) error {
		var k docKey
		var number int64
		_, err := pgx.ForEachRow(rows, []any{&k.room, &k.seq, &number}, func() error { known[k] = number; return nil })
		return err
	})
	b.Queue("SELECT DISTINCT ON (day) day, chunk, docs FROM parley.chunks WHERE day = ANY($1) ORDER BY day, chunk DESC", days).Query(func(rows pgx.Rows) error {
		var day int64
		var c chunk
		_, err := pgx.ForEachRow(rows, []any{&day, &c.number, &c.docs}, func() error {
			last := c
			open[day] = &last
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	var full []*chunk
	docs := struct {
		rooms, seqs, chunks, ats []int64
		words                    []string
	}{}
	for _, m := range messages {
		if m.words == "" {
			continue
		}
		number, ok := known[docKey{m.room, m.seq}]
		if !ok {
			day := m.at / dayMillis
			c := open[day]
			if c == nil || c.docs+c.added >= chunkDocs {
				if c != nil {
					full = append(full, c)
				}
				c = &chunk{}
				open[day] = c
				if err := tx.QueryRow(ctx, "INSERT INTO parley.chunks (day, docs) VALUES ($1, 0) RETURNING chunk", day).Scan(&c.number); err != nil {
					return err
				}
			}
			c.added++
			number = c.number
		}
		docs.rooms, docs.seqs = append(docs.rooms, m.room), append(docs.seqs, m.seq)
		docs.chunks, docs.ats = append(docs.chunks, number), append(docs.ats, m.at)
		docs.words = append(docs.words, lexemes(number, m.words))
	}
	b = pgx.Batch{}
	b.Queue(`INSERT INTO parley.docs (room, seq, chunk, at, words) SELECT room, seq, chunk, at, words::tsvector
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) AS x(room, seq, chunk, at, words)`,
		docs.rooms, docs.seqs, docs.chunks, docs.ats, docs.words)
	for _, c := range open {
		full = append(full, c)
	}
	for _, c := range full {
		if c.added > 0 {
			b.Queue("UPDATE parley.chunks SET docs = docs + $2 WHERE chunk = $1", c.number, c.added)
		}
	}
	return tx.SendBatch(ctx, &b).Close()
}

// lexemes returns words of a chunk as the text of a tsvector. Words have only letters, digits and marks, so
// quoting makes them plain.
func lexemes(chunk int64, words string) string {
	prefix := "'" + strconv.FormatInt(chunk, 36) + "/"
	return prefix + strings.ReplaceAll(words, " ", "' "+prefix) + "'"
}

// clean removes from the index what was deleted in the store before.
func (x *index) clean(ctx context.Context) error {
	if x == nil {
		return nil
	}
	var newest, position int64
	err := x.store.one(ctx, "SELECT position FROM parley.counters", nil, &newest)
	for err == nil {
		err = x.store.one(ctx, "SELECT coalesce((SELECT position FROM parley.followers WHERE name = $1), $2)", []any{indexFollower, newest}, &position)
		if err == nil && position >= newest {
			return nil
		}
		var result did
		if err == nil {
			result, err = x.step(ctx)
		}
		if err == nil && result == others {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
	}
	return history.ErrUnavailable.Wrap("the erasure is not complete; repeat it", err)
}
