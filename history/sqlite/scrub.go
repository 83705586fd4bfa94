package sqlite

import (
	"context"
	"encoding/binary"

	"github.com/parley-go/parley/history"
)

// SQLite's secure_delete overwrites a row where it is deleted, but not the copies that are left in the
// unused part of a page when its rows move to another page. So whoever deletes secretly also scrubs.

// secretly calls f so that what its statements delete or replace is overwritten with zeros in the
// pages that they write. The write-ahead log has the earlier pages until it is emptied; see residue.
func (w *writer) secretly(ctx context.Context, f func() error) error {
	if _, err := w.conn.ExecContext(ctx, "PRAGMA secure_delete = ON"); err != nil {
		return err
	}
	err := f()
	if _, e := w.conn.ExecContext(ctx, "PRAGMA secure_delete = OFF"); err == nil && e != nil {
		return history.ErrUnknownOutcome.Wrap("after the commit", e)
	}
	return err
}

// scrub overwrites the unused parts of all pages of tables and indexes, within a transaction. It reads
// all of them, so it is meant for small ones.
func (w *writer) scrub(ctx context.Context, names ...string) error {
	for _, name := range names {
		numbers, err := w.pagesOf(ctx, name)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			var page []byte
			err := w.conn.QueryRowContext(ctx, "SELECT data FROM sqlite_dbpage WHERE pgno = ?", number).Scan(&page)
			if err == nil && scrubPage(page) {
				_, err = w.conn.ExecContext(ctx, "UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?", page, number)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// pagesOf returns the pages of a table's or an index's tree. The pages of long rows' ends are not among
// them, because they have no unused part that was used.
func (w *writer) pagesOf(ctx context.Context, name string) (numbers []int64, err error) {
	rows, err := w.conn.QueryContext(ctx, "SELECT pageno FROM dbstat WHERE name = ? AND pagetype != 'overflow'", name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		if err := rows.Scan(&number); err != nil {
			return nil, err
		}
		numbers = append(numbers, number)
	}
	return numbers, rows.Err()
}

// scrubPage overwrites the unused parts of a page of a tree with zeros, and reports whether that
// changed it. The page must not be the first one of the file. See "B-tree Pages" in
// https://sqlite.org/fileformat2.html.
func scrubPage(page []byte) (changed bool) {
	header := 8
	switch page[0] {
	case 2, 5: // of an index, of a table: an inner page
		header = 12
	case 10, 13: // a leaf
	default:
		return false
	}
	number := func(at int) int { return int(binary.BigEndian.Uint16(page[at:])) }
	zero := func(from, to int) {
		for i := from; i < to && i < len(page); i++ {
			changed = changed || page[i] != 0
			page[i] = 0
		}
	}
	content := number(5)
	if content == 0 {
		content = 1 << 16
	}
	zero(header+2*number(3), content) // between the list of rows and the rows
	for at := number(1); at != 0 && at+4 <= len(page); {
		next := number(at) // a block that was freed begins with the place of the next one, and its size
		zero(at+4, at+number(at+2))
		if next <= at {
			break
		}
		at = next
	}
	return changed
}
