package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
)

// The writing connection overwrites with zeros what its statements delete or replace, and the pages
// that become free (secure_delete). That does not reach the copies that are left in the unused part of
// a page when its rows move to another page. So whoever deletes secretly also scrubs. The write-ahead
// log has the earlier pages until it is emptied; see residue.

// scrub overwrites the unused parts of all pages of tables and indexes, within a transaction. It reads
// all of them, so it is meant for small ones.
func (w *writer) scrub(ctx context.Context, names ...string) error {
	for _, name := range names {
		numbers, err := w.pagesOf(ctx, name)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			if err := scrubPages(ctx, w.conn, number, number); err != nil {
				return err
			}
		}
	}
	return nil
}

// scrubRows is how many pages are scrubbed in one commit.
const scrubRows = 500

// scrubAll scrubs a whole database, a part in each transaction. What was deleted before is not in
// unused parts of pages then, also if others write meanwhile: they move only rows that exist.
func scrubAll(ctx context.Context, transaction func(func(context.Context, *sql.Conn) error) error) error {
	for from, pages := int64(2), int64(2); from <= pages; from += scrubRows { // the first page has no rows of people
		err := transaction(func(ctx context.Context, conn *sql.Conn) error {
			if err := conn.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
				return err
			}
			return scrubPages(ctx, conn, from, min(pages, from+scrubRows-1))
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scrubPages scrubs the pages with some numbers, within a transaction.
func scrubPages(ctx context.Context, conn *sql.Conn, from, to int64) error {
	read, err := conn.PrepareContext(ctx, "SELECT data FROM sqlite_dbpage WHERE pgno = ?")
	if err != nil {
		return err
	}
	defer read.Close()
	for number := from; number <= to; number++ {
		var page []byte
		err := read.QueryRowContext(ctx, number).Scan(&page)
		if err == nil && scrubPage(page) {
			_, err = conn.ExecContext(ctx, "UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?", page, number)
		}
		if err != nil {
			return err
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
