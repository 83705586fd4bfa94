package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
)

// Report is the result of a check.
type Report struct {
	Rooms    int64
	Messages int64
	Bytes    int64    // size of the database, without the write-ahead log
	Findings []string // descriptions of what is wrong; empty if nothing is
	// Damaged says that the file itself is broken, so that its content cannot be trusted.
	// Otherwise, Findings are about single rooms or messages.
	Damaged bool
}

var errDamaged = errors.New("the database is damaged")

// Check reads all of the store at path, while other processes use it, and reports what is wrong:
// inconsistent pages and indexes, messages whose room does not exist or does not know their
// numbers, messages that are not JSON, and conversations whose state contradicts itself. An error means that the store could not be checked.
func Check(ctx context.Context, path string) (r Report, err error) {
	err = withStore(ctx, path, func(conn *sql.Conn) (err error) {
		r, err = check(ctx, conn)
		return err
	})
	if isDamage(err) {
		r, err = Report{Findings: []string{err.Error()}, Damaged: true}, nil
	}
	if err != nil {
		err = fmt.Errorf("parley: check %s: %w", path, err)
	}
	return r, err
}

// maxFindings limits how many findings of each kind are reported.
const maxFindings = 20

func check(ctx context.Context, conn *sql.Conn) (r Report, err error) {
	integrity, err := column(ctx, conn, fmt.Sprintf("PRAGMA integrity_check(%d)", maxFindings))
	if err != nil {
		return r, err
	}
	if len(integrity) != 1 || integrity[0] != "ok" {
		return Report{Findings: integrity, Damaged: true}, nil
	}
	version, err := schemaVersion(ctx, conn, math.MaxInt)
	if err != nil {
		return r, err
	}
	queries := findings
	if version >= 2 { // a backup may be older
		queries = slices.Concat(findings, conversationFindings)
	}
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // rooms and messages from the same moment
	if err != nil {
		return r, err
	}
	defer tx.Rollback()
	err = tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM rooms), (SELECT count(*) FROM messages),
		(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)`).Scan(&r.Rooms, &r.Messages, &r.Bytes)
	if err != nil {
		return r, err
	}
	for _, query := range queries {
		found, err := column(ctx, tx, fmt.Sprintf("%s LIMIT %d", query, maxFindings))
		if err != nil {
			return r, err
		}
		r.Findings = append(r.Findings, found...)
	}
	return r, nil
}

// findings are queries that find wrong content.
var findings = []string{
	`SELECT 'message ' || id || ' is of a room that does not exist' FROM messages WHERE id >> 32 NOT IN (SELECT id FROM rooms)`,
	`SELECT 'message ' || id || ' is no JSON' FROM messages WHERE NOT json_valid(message)`,
	`SELECT format('room %Q has given the number %d, and knows only %d', room_id, used, head) FROM (
		SELECT room_id, head, max(
			coalesce((SELECT max(id) FROM messages WHERE id > r.id << 32 AND id < (r.id + 1) << 32) & 0xffffffff, 0),
			coalesce((SELECT max(rev) FROM messages m WHERE m.id >> 32 = r.id AND rev IS NOT NULL), 0)) AS used
		FROM rooms r) WHERE used > head`,
}

// conversationFindings are the same for stores that have conversations.
var conversationFindings = []string{
	`SELECT format('room %Q belongs to nobody, and is open, assigned, waiting or changed', room_id) FROM rooms
		WHERE user_id IS NULL AND (status IS NOT NULL OR operator_id IS NOT NULL OR waiting_at IS NOT NULL OR closed_at IS NOT NULL OR change != 0)`,
	`SELECT format('conversation %Q has the status %Q', room_id, status) FROM rooms
		WHERE user_id IS NOT NULL AND (status IS NULL OR status NOT IN ('open', 'closed'))`,
	`SELECT format('conversation %Q is open, and was closed', room_id) FROM rooms WHERE status = 'open' AND closed_at IS NOT NULL`,
	`SELECT format('conversation %Q is closed, and nobody knows when', room_id) FROM rooms WHERE status = 'closed' AND closed_at IS NULL`,
	`SELECT format('conversation %Q is closed, and its user waits', room_id) FROM rooms WHERE status = 'closed' AND waiting_at IS NOT NULL`,
	`SELECT format('conversation %Q has no change', room_id) FROM rooms WHERE user_id IS NOT NULL AND change < 1`,
	`SELECT format('the labels of room %Q are no list', room_id) FROM rooms
		WHERE iif(json_valid(labels), json_type(labels), '') != 'array'`,
	`SELECT format('the attributes of room %Q are no object', room_id) FROM rooms
		WHERE iif(json_valid(attributes), json_type(attributes), '') != 'object'`,
	`SELECT format('the attributes of person %Q are no object', id) FROM people
		WHERE iif(json_valid(attributes), json_type(attributes), '') != 'object'`,
	`SELECT format('person %Q became %Q, who became somebody else', p.id, u.id) FROM people p JOIN people u ON u.id = p.became
		WHERE u.became IS NOT NULL`,
}

// column returns the rows of a query with one text column.
func column(ctx context.Context, q interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, query string, args ...any) (texts []string, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, rows.Err()
}

// withDatabase calls f with its own connection to the database at path, which must exist.
func withDatabase(ctx context.Context, path string, f func(*sql.Conn) error) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return ErrNoStore
	}
	db, err := sql.Open("sqlite", dataSource(path, url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(5000)"}}))
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(conn)
}

// withStore is withDatabase for a database that must be one of our stores.
func withStore(ctx context.Context, path string, f func(*sql.Conn) error) error {
	return withDatabase(ctx, path, func(conn *sql.Conn) error {
		if err := recognise(ctx, conn); err != nil {
			return err
		}
		return f(conn)
	})
}
