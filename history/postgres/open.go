package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-go/parley/history/internal/pruning"
	"github.com/parley-go/parley/history/internal/reading"
	"github.com/parley-go/parley/internal/turns"
)

// Options configure a Store.
type Options struct {
	// Readers limits how many reads run at the same time; clients take turns (see
	// [history.WithClient]). If zero, 4 or the number of processors, whichever is larger.
	Readers int
	// Writers limits how many changes run at the same time. If zero, 4. The store opens as many
	// connections as Readers and Writers together, and two more.
	Writers int
	// Timeout limits how long a statement may take, and how long a change may wait for others. If zero,
	// 15 s.
	Timeout time.Duration
	// Patience is for how long a call that has lost its connection tries again. If zero, 5 s. If
	// negative, it does not.
	Patience time.Duration
	// Search keeps an index of words, so that Search finds messages in all rooms. The nodes of a
	// cluster must agree. It costs a little more room than the messages. Without it, an index that was
	// there is removed.
	Search bool
	// Logger gets one line when the database cannot be used any more, and one when it can be again. If
	// nil, slog.Default().
	Logger *slog.Logger
}

// Store is a [history.Store] in a PostgreSQL database. It is safe for concurrent use, also by several
// processes with a Store each.
type Store struct {
	pool  *pgxpool.Pool
	opt   Options
	log   *slog.Logger
	epoch atomic.Pointer[string]
	now   func() time.Time
	key   []byte // of the hashes of erased rooms

	readers *turns.Queue[struct{}]
	writers chan struct{} // holds a token for each change that runs
	known   known
	faults  faults

	prunings pruning.Positions
	index    *index // nil: none
	news     chan struct{}

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // changes that run
}

// Locks, by which transactions of all nodes wait for each other: the second half of the key of an advisory
// lock. The first half is lockClass, "Prly".
const (
	lockClass         = 0x50726c79
	migrateLock int64 = lockClass<<32 | 1 // a migration
	gateLock    int64 = lockClass<<32 | 2 // shared by changes; whoever makes them write the changelog has it alone
	recordLock  int64 = lockClass<<32 | 3 // changes of records
	indexLock   int64 = lockClass<<32 | 4 // steps of the index
)

// Open opens the store in a database. url has the form postgres://user:password@host:port/database?options;
// see https://www.postgresql.org/docs/current/libpq-connect.html for its options, such as sslmode and
// sslrootcert, and for what is taken from the environment. Open creates the schema "parley" in the
// database, or migrates it. A nil opt means the defaults.
func Open(ctx context.Context, url string, opt *Options) (*Store, error) {
	s := &Store{now: time.Now, news: make(chan struct{}, 1)}
	if opt != nil {
		s.opt = *opt
	}
	s.opt.Readers = cmp.Or(max(s.opt.Readers, 0), max(4, runtime.GOMAXPROCS(0)))
	s.opt.Writers = cmp.Or(max(s.opt.Writers, 0), 4)
	s.opt.Timeout = cmp.Or(max(s.opt.Timeout, 0), 15*time.Second)
	s.opt.Patience = cmp.Or(s.opt.Patience, 5*time.Second)
	if s.log = s.opt.Logger; s.log == nil {
		s.log = slog.Default()
	}
	s.readers = turns.New(reading.MaxWaiting, make([]struct{}, s.opt.Readers)...)
	s.writers = make(chan struct{}, s.opt.Writers)
	if err := s.open(ctx, url); err != nil {
		if s.pool != nil {
			s.pool.Close()
		}
		return nil, fmt.Errorf("parley: open history in PostgreSQL: %w", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, url string) error {
	config, err := s.config(url)
	if err != nil {
		return err
	}
	direct := config.ConnConfig.Copy() // migrations may take as long as they need
	delete(direct.RuntimeParams, "statement_timeout")
	delete(direct.RuntimeParams, "lock_timeout")
	conn, err := pgx.ConnectConfig(ctx, direct)
	if err != nil {
		return err
	}
	err = migrate(ctx, conn)
	if err == nil {
		err = conn.QueryRow(ctx, "SELECT v::bytea FROM parley.meta WHERE k = 'erased_key'").Scan(&s.key)
	}
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	if err := s.pool.Ping(ctx); err != nil {
		return err
	}
	return s.openIndex(ctx)
}

// config returns the configuration of the pool.
func (s *Store) config(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(s.opt.Readers + s.opt.Writers + 2)
	c := config.ConnConfig
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 10*time.Second)
	// A call that is cancelled cancels its statement, and keeps the connection.
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 5 * time.Second}
	}
	milliseconds := strconv.FormatInt(max(1, s.opt.Timeout.Milliseconds()), 10)
	for name, value := range map[string]string{
		"application_name":  "parley",
		"statement_timeout": milliseconds,
		"lock_timeout":      milliseconds,
		// A node that is gone does not keep others from writing.
		"idle_in_transaction_session_timeout": milliseconds,
		"tcp_keepalives_idle":                 "15",
		"tcp_keepalives_interval":             "5",
		"tcp_keepalives_count":                "3",
		"jit":                                 "off", // no query is large enough
		// Plans are kept. One from when a table was small would read all of it when it is large.
		"enable_seqscan":                  "off",
		"max_parallel_workers_per_gather": "0", // the same; and parts of a page come in order
	} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
	config.AfterConnect = s.meet
	return config, nil
}

// meet looks whom a new connection leads to. After a failover, or if somebody has restored a dump, it is
// another epoch.
func (s *Store) meet(ctx context.Context, conn *pgx.Conn) error {
	var standby bool
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby); err != nil {
		return err
	}
	if standby {
		return errors.New("the server is a standby; with several hosts in the URL, add target_session_attrs=read-write")
	}
	var name string
	err := conn.QueryRow(ctx, `SELECT concat_ws('.', v, (SELECT system_identifier FROM pg_control_system()),
		'parley.messages'::regclass::oid, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)) FROM parley.meta WHERE k = 'epoch'`).Scan(&name)
	if err != nil {
		return fmt.Errorf("read the epoch: %w", err)
	}
	sum := sha256.Sum256([]byte(name))
	epoch := hex.EncodeToString(sum[:10])
	if was := s.epoch.Swap(&epoch); was != nil && *was != epoch {
		s.log.Warn("the database is another one: clients load their rooms anew")
		s.known.clear()
	}
	return nil
}

// Epoch implements [history.Store]. It changes when another server takes over, because that one may lack
// the newest messages, and when a dump was restored.
func (s *Store) Epoch() string { return *s.epoch.Load() }

// Size returns how many bytes the store has on the disks of the server.
func (s *Store) Size(ctx context.Context) (bytes int64, err error) {
	err = s.one(ctx, `SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
		WHERE c.relnamespace = 'parley'::regnamespace AND c.relkind = 'r'`, nil, &bytes)
	return bytes, err
}

// Close implements [history.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.index.close()
	s.readers.Close()
	s.calls.Wait()
	s.pool.Close()
	return nil
}

// begin reports whether a change may begin. It must call s.calls.Done at its end.
func (s *Store) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.calls.Add(1)
	}
	return !s.closed
}
