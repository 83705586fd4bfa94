package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/history"
	packed "github.com/parley-go/parley/history/internal/changes"
	"github.com/parley-go/parley/internal/words"
)

// The index of words is a database of its own beside the store, path-search, so that writing it
// never holds up a commit, and so that backups do not need it. One goroutine follows the changelog
// and, at first, goes through the messages that exist:
//
//	changes: read what has changed, then read these messages as they are now
//	build:   read the next messages in the order of their keys
//	commit:  the words, and how far both have come
//	pass:    the changelog may forget what was committed
//
// An index that does not belong to the store (another epoch, or another changelog) is made anew.
//
// Documents have numbers that ascend with time, so that the newest are found first: the second of the
// message in the upper bits. No text is stored, only words with the numbers of documents, and what is
// found is compared with the message. So the index may be behind, and nobody sees it. Words are made of
// letters and digits already (see package words), so the simplest way to split them does.

const (
	indexFollower = "search"
	indexRows     = 1000 // messages that are indexed in one commit
	indexPrefix   = 3    // characters of the longest beginnings of words that are in the index
	docBits       = 24   // of the number of a document within its second
	passEvery     = 1000

	indexPause = 200 * time.Millisecond // in which changes are collected
	buildPause = 5 * time.Millisecond
	indexRetry = time.Second // after a failure

	indexFormat = 2 // of the schema; an index of another format is made anew
	indexSchema = `
		CREATE TABLE state (k TEXT PRIMARY KEY, v TEXT NOT NULL) STRICT, WITHOUT ROWID;
		CREATE TABLE docs (doc INTEGER PRIMARY KEY, message INTEGER NOT NULL UNIQUE) STRICT;
		CREATE VIRTUAL TABLE words USING fts5(text, content='', contentless_delete=1, detail=none,
			prefix='1 2 3', tokenize='ascii');
		CREATE VIRTUAL TABLE terms USING fts5vocab(words, instance)`
)

// index finds words. It is safe for concurrent use.
type index struct {
	store    *Store
	ctx      context.Context // ends with close
	cancel   context.CancelFunc
	done     chan struct{}          // closed when the goroutine has ended
	complete atomic.Bool            // the first build is over
	failures atomic.Int64           // of the last steps, without a success between
	db       atomic.Pointer[sql.DB] // nil: not opened yet

	mu       sync.Mutex  // held during a step
	conn     *sql.Conn   // the only connection that writes; nil: to be opened
	stmts    *indexStmts // of conn; nil: to be prepared
	position int64       // of the changelog
	passed   int64       // the same, as the changelog knows it
	built    int64       // key of the last message of the first build
}

// openIndex starts the index. It fails only if there can be none.
func (s *Store) openIndex(ctx context.Context) error {
	path := s.path + indexSuffix
	if !s.opt.Search {
		if err := removeAll(path, path+"-wal", path+"-shm"); err != nil {
			return err
		}
		return s.unfollowIndex(ctx)
	}
	x := &index{store: s, done: make(chan struct{})}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	s.index = x
	go x.run()
	return nil
}

const indexSuffix = "-search"

// unfollowIndex removes what an index has left in the store. If the disk is full, the next start does.
func (s *Store) unfollowIndex(ctx context.Context) error {
	var left bool
	err := s.keeper.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM followers WHERE name = ?)", indexFollower).Scan(&left)
	if err == nil && left {
		err = s.Unfollow(ctx, indexFollower)
	}
	if errors.Is(err, history.ErrFull) {
		return nil
	}
	return err
}

// close ends the index. It is nil if there is none.
func (x *index) close() {
	if x == nil {
		return
	}
	x.cancel()
	<-x.done
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closeDB()
}

// run follows the store until the index is closed. After a failure it tries again. It logs only the
// first of several failures.
func (x *index) run() {
	defer close(x.done)
	for x.ctx.Err() == nil {
		began := time.Now()
		more, err := x.step(x.ctx)
		pause, news := indexPause, (<-chan struct{})(nil)
		switch {
		case x.ctx.Err() != nil:
			return
		case err != nil:
			pause = indexRetry
			if x.failures.Load() == 0 && x.store.fault.Load() == nil && !errors.Is(err, history.ErrClosed) {
				x.store.log.Error("the index of words cannot be written: search finds nothing new", "error", err)
			}
		case more && x.complete.Load(): // it is behind: others have half of a processor
			pause = max(buildPause, time.Since(began))
		case more: // leave most of a processor to those who write
			pause = max(buildPause, 2*time.Since(began))
		default:
			news = x.store.news
		}
		if err != nil {
			x.failures.Add(1)
		} else if x.failures.Swap(0) > 0 {
			x.store.log.Info("the index of words is written again")
		}
		if news != nil {
			select {
			case <-news:
			case <-x.ctx.Done():
			}
		}
		select {
		case <-time.After(pause):
		case <-x.ctx.Done():
		}
	}
}

// step brings the index forward. More says that there is more to do now.
func (x *index) step(ctx context.Context) (more bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		if err := x.open(ctx); err != nil {
			return false, err
		}
	}
	changes, err := x.follow(ctx)
	if err == nil && !x.complete.Load() {
		err = x.build(ctx)
	}
	if err == nil && (x.position-x.passed >= passEvery || changes == 0 && x.position > x.passed) {
		if err = x.store.PassChanges(ctx, indexFollower, x.position); err == nil {
			x.passed = x.position
		}
	}
	if err != nil {
		x.reset()
	}
	return changes > 0 || !x.complete.Load(), err
}

// reset closes a connection that may be in any state, so that nobody gets it from the pool.
func (x *index) reset() {
	if x.conn != nil {
		x.stmts.close()
		x.stmts = nil
		x.conn.Raw(func(any) error { return driver.ErrBadConn })
		x.conn = nil
	}
}

// open opens the index and finds out how far it has come. One that does not belong to the store is
// made anew.
func (x *index) open(ctx context.Context) (err error) {
	if x.passed, err = x.store.FollowChanges(ctx, indexFollower); err != nil {
		return err
	}
	usable, err := x.openFile(ctx)
	if err != nil && !isDamage(err) {
		x.reset()
		return err
	}
	if usable && err == nil {
		return nil
	}
	x.closeDB()
	x.complete.Store(false)
	path := x.store.path + indexSuffix
	if err := removeAll(path, path+"-wal", path+"-shm"); err != nil {
		return err
	}
	if err := x.store.Unfollow(ctx, indexFollower); err != nil {
		return err
	}
	if x.passed, err = x.store.FollowChanges(ctx, indexFollower); err != nil {
		return err
	}
	if err = x.makeFile(ctx, path); err != nil {
		x.closeDB()
		return err
	}
	x.position, x.built = x.passed, 0
	return nil
}

// connect opens a database for the index, and the connection that writes.
func (x *index) connect(ctx context.Context) (db *sql.DB, err error) {
	if db = x.db.Load(); db == nil {
		// The file exists: otherwise a reader could make one.
		db, err = sql.Open("sqlite", dataSource(x.store.path+indexSuffix, url.Values{"mode": {"rw"}, "_pragma": {
			"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)",
			fmt.Sprintf("journal_size_limit(%d)", walLimit), "temp_store(MEMORY)"}}))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1 + x.store.opt.Readers)
		db.SetMaxIdleConns(1 + x.store.opt.Readers)
	}
	x.conn, err = db.Conn(ctx)
	if err != nil && x.db.Load() == nil {
		db.Close()
	}
	return db, err
}

// closeDB closes all connections. Searches that are running end first.
func (x *index) closeDB() {
	x.reset()
	if db := x.db.Swap(nil); db != nil {
		db.Close()
	}
}

// openFile opens the index, and reports whether it is one of this store.
func (x *index) openFile(ctx context.Context) (usable bool, err error) {
	if _, err := os.Stat(x.store.path + indexSuffix); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	db, err := x.connect(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		if usable {
			x.db.Store(db)
		} else if x.db.Load() == nil {
			x.reset()
			db.Close()
		}
	}()
	var tables int
	if err := x.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'state'").Scan(&tables); err != nil || tables == 0 {
		return false, err
	}
	var epoch string
	var format int
	var complete bool
	err = x.conn.QueryRowContext(ctx, `SELECT coalesce(max(iif(k = 'epoch', v, NULL)), ''), coalesce(max(iif(k = 'position', CAST(v AS INTEGER), NULL)), -1),
		coalesce(max(iif(k = 'built', CAST(v AS INTEGER), NULL)), 0), coalesce(max(iif(k = 'complete', CAST(v AS INTEGER), NULL)), 0),
		coalesce(max(iif(k = 'format', CAST(v AS INTEGER), NULL)), 0) FROM state`).
		Scan(&epoch, &x.position, &x.built, &complete, &format)
	if err != nil || format != indexFormat || epoch != x.store.epoch || x.position < x.passed {
		return false, err
	}
	x.complete.Store(complete)
	return true, nil
}

// makeFile makes an empty index.
func (x *index) makeFile(ctx context.Context, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	db, err := x.connect(ctx)
	if err != nil {
		return err
	}
	err = x.commit(ctx, func(ctx context.Context) error {
		if _, err := x.conn.ExecContext(ctx, indexSchema); err != nil {
			return err
		}
		_, err := x.conn.ExecContext(ctx, "INSERT INTO state VALUES ('format', ?), ('epoch', ?), ('position', ?), ('built', '0'), ('complete', '0')",
			indexFormat, x.store.epoch, x.passed)
		return err
	})
	if err != nil {
		x.reset()
		db.Close()
		return err
	}
	x.db.Store(db)
	return nil
}

// commit calls f in a transaction. It is short, so nothing cancels it.
func (x *index) commit(ctx context.Context, f func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := x.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f(ctx)
	if err == nil {
		_, err = x.conn.ExecContext(ctx, "COMMIT")
	}
	return err // the connection is closed then
}

// put notes how far the index has come.
func (x *index) put(ctx context.Context, key string, v int64) error {
	_, err := x.conn.ExecContext(ctx, "UPDATE state SET v = ? WHERE k = ?", v, key)
	return err
}

// source is a message to index.
type source struct {
	id, timestamp int64
	message       []byte
}

// sources returns the messages that a query selects.
func sources(ctx context.Context, stmt *sql.Stmt, args ...any) (messages []source, err error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m source
		if err := rows.Scan(&m.id, &m.timestamp, &m.message); err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, rows.Err()
}

// follow indexes what has changed, and returns the number of changes.
func (x *index) follow(ctx context.Context) (int, error) {
	var changes []packed.Change
	err := x.store.read(ctx, func(r *reader) (err error) {
		changes, err = r.changes(ctx, x.position, indexRows)
		return err
	})
	if err != nil || len(changes) == 0 {
		return 0, err
	}
	keys := make([]int64, 0, len(changes))
	known := make(map[int64]bool)
	for _, c := range changes {
		if id := c.Room<<32 | c.Seq; (c.Kind == history.MessageAdded || c.Kind == history.MessageChanged) && !known[id] {
			known[id] = true
			keys = append(keys, id)
		}
	}
	list, err := json.Marshal(keys)
	if err != nil {
		return 0, err
	}
	var messages []source
	err = x.store.read(ctx, func(r *reader) (err error) {
		messages, err = sources(ctx, r.sources, string(list))
		return err
	})
	if err != nil {
		return 0, err
	}
	last := changes[len(changes)-1].Position
	err = x.commit(ctx, func(ctx context.Context) error {
		if err := x.set(ctx, messages); err != nil {
			return err
		}
		for _, c := range changes {
			var err error
			switch c.Kind {
			case history.MessagesPruned:
				err = x.remove(ctx, c.Room<<32, at(c.Room, c.Number))
			case history.RoomErased:
				err = x.remove(ctx, c.Room<<32, (c.Room+1)<<32-1)
			}
			if err != nil {
				return err
			}
		}
		return x.put(ctx, "position", last)
	})
	if err != nil {
		return 0, err
	}
	x.position = last
	return len(changes), nil
}

// build indexes the next messages of the first build.
func (x *index) build(ctx context.Context) error {
	var messages []source
	err := x.store.read(ctx, func(r *reader) (err error) {
		messages, err = sources(ctx, r.nextSources, x.built, indexRows)
		return err
	})
	if err != nil {
		return err
	}
	built, complete := x.built, len(messages) < indexRows
	if len(messages) > 0 {
		built = messages[len(messages)-1].id
	}
	err = x.commit(ctx, func(ctx context.Context) error {
		if err := x.set(ctx, messages); err != nil {
			return err
		}
		if complete {
			if err := x.put(ctx, "complete", 1); err != nil {
				return err
			}
		}
		return x.put(ctx, "built", built)
	})
	if err != nil {
		return err
	}
	x.built = built
	x.complete.Store(complete)
	return nil
}

// indexStmts are what set needs for each message.
type indexStmts struct {
	connection
	docs, lastDoc       *sql.Stmt
	addDoc, add, forget *sql.Stmt
}

// prepare prepares the statements of set.
func (x *index) prepare(ctx context.Context) error {
	if x.stmts != nil {
		return nil
	}
	p := &indexStmts{connection: connection{conn: x.conn}}
	p.docs = p.prepare(ctx, "SELECT d.message, d.doc FROM json_each(?) j CROSS JOIN docs d ON d.message = j.value")
	p.lastDoc = p.prepare(ctx, "SELECT coalesce(max(doc) + 1, ?1) FROM docs WHERE doc >= ?1 AND doc < ?2")
	p.addDoc = p.prepare(ctx, "INSERT INTO docs VALUES (?, ?)")
	p.add = p.prepare(ctx, "INSERT INTO words (rowid, text) VALUES (?, ?)")
	p.forget = p.prepare(ctx, "DELETE FROM words WHERE rowid = ?")
	x.stmts = p
	return p.err
}

// close closes the statements.
func (p *indexStmts) close() {
	if p != nil {
		for _, stmt := range p.stmts {
			stmt.Close()
		}
	}
}

// set makes the words of messages those that the index has. A message without words is not in it.
func (x *index) set(ctx context.Context, messages []source) error {
	if len(messages) == 0 {
		return nil
	}
	if err := x.prepare(ctx); err != nil {
		return err
	}
	docs, err := x.docsOf(ctx, messages)
	if err != nil {
		return err
	}
	next := make(map[int64]int64) // number of the next document, by the first one of its second
	for i := range messages {
		m := &messages[i]
		text := strings.Join(words.Split(words.Text(m.message)), " ")
		doc, known := docs[m.id]
		switch {
		case known && text == "":
			err = x.remove(ctx, m.id-1, m.id)
		case known:
			_, err = x.stmts.forget.ExecContext(ctx, doc)
		case text != "":
			first := docAt(m.timestamp)
			if doc, known = next[first]; !known {
				err = x.stmts.lastDoc.QueryRowContext(ctx, first, docAt(m.timestamp+1000)).Scan(&doc)
			}
			next[first] = doc + 1
			if err == nil {
				_, err = x.stmts.addDoc.ExecContext(ctx, doc, m.id)
			}
		}
		if err == nil && text != "" {
			_, err = x.stmts.add.ExecContext(ctx, doc, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// docsOf returns the documents that there are of messages.
func (x *index) docsOf(ctx context.Context, messages []source) (map[int64]int64, error) {
	ids := make([]int64, len(messages))
	for i := range messages {
		ids[i] = messages[i].id
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	known, numbers, err := pairs(ctx, x.stmts.docs, string(list))
	docs := make(map[int64]int64, len(known))
	for i, id := range known {
		docs[id] = numbers[i]
	}
	return docs, err
}

// docAt returns the first number of a document in the second of a time.
func docAt(timestamp int64) int64 { return timestamp / 1000 << docBits }

// remove removes the messages after a key, up to another.
func (x *index) remove(ctx context.Context, after, upTo int64) error {
	for _, statement := range []string{
		"DELETE FROM words WHERE rowid IN (SELECT doc FROM docs WHERE message > ? AND message <= ?)",
		"DELETE FROM docs WHERE message > ? AND message <= ?",
	} {
		if _, err := x.conn.ExecContext(ctx, statement, after, upTo); err != nil {
			return err
		}
	}
	return nil
}

// clean removes what was deleted in the store from the file of the index.
func (x *index) clean(ctx context.Context) error {
	if x == nil {
		return nil
	}
	newest, err := x.store.newestChange(ctx)
	for more := true; more && err == nil; {
		more, err = x.catchUp(ctx, newest)
	}
	if err != nil {
		return history.ErrUnavailable.Wrap("erase from the index", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		return history.ErrUnavailable.Wrap("erase from the index", nil)
	}
	_, err = x.conn.ExecContext(ctx, "INSERT INTO words (words) VALUES ('optimize')") // what was deleted is only marked before
	if err == nil {
		err = scrubAll(ctx, func(f func(context.Context, *sql.Conn) error) error {
			return x.commit(ctx, func(ctx context.Context) error { return f(ctx, x.conn) })
		})
	}
	if err != nil {
		x.reset()
		return history.ErrUnavailable.Wrap("erase from the index", err)
	}
	return emptyLog(ctx, x.conn, x.store.closed)
}

// catchUp follows the next changes, and reports whether more are left up to a position. What others
// change meanwhile does not count, for it could be without end.
func (x *index) catchUp(ctx context.Context, upTo int64) (more bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		if err := x.open(ctx); err != nil {
			return false, err
		}
	}
	n, err := x.follow(ctx)
	if err != nil {
		x.reset()
	}
	return n > 0 && x.position < upTo, err
}
