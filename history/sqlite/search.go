package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/scan"
)

// Few rooms that are not large are searched message by message, which needs no index. Everything else
// is looked up in the index. A page looks at a bounded number of messages, so it can have fewer hits
// than its limit, or none, and still a cursor.

const searchedTerms = 128 // words with a beginning that are looked up one by one

// Search implements [history.Searcher].
func (s *Store) Search(ctx context.Context, q history.SearchQuery) (found history.Found, err error) {
	p, err := q.Prepare()
	if err != nil {
		return history.Found{}, err
	}
	err = s.read(ctx, func(r *reader) error {
		rooms, total, err := r.searchedRooms(ctx, &p)
		if err != nil {
			return err
		}
		oneByOne, err := scan.Suits(&p, rooms, total, s.index != nil, s.index != nil && s.index.complete.Load())
		switch {
		case err != nil:
		case oneByOne:
			found, err = r.scanRooms(ctx, &p, rooms)
		default:
			found, err = s.index.search(ctx, r, &p)
		}
		return err
	})
	return found, err
}

// searchedRooms returns the rooms to look in, with their notes if asked for, and how many messages they
// have at most. Nil means all rooms.
func (r *reader) searchedRooms(ctx context.Context, q *history.SearchQuery) (rooms []*scan.Room, total int64, err error) {
	if q.Rooms == nil && q.UserID == "" {
		return nil, 0, nil
	}
	names := any(nil)
	if q.Rooms != nil {
		text, err := json.Marshal(q.Rooms)
		if err != nil {
			return nil, 0, err
		}
		names = string(text)
	}
	query := "SELECT id, room_id, head - floor FROM rooms WHERE user_id = ?1"
	if names != nil {
		query = "SELECT id, room_id, head - floor FROM rooms WHERE room_id IN (SELECT value FROM json_each(?2)) AND (?1 = '' OR user_id = ?1)"
	}
	query = "SELECT * FROM (" + query + ") WHERE room_id NOT GLOB '~*' ORDER BY id"
	rows, err := r.conn.QueryContext(ctx, query, q.UserID, names)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	rooms = []*scan.Room{}
	for rows.Next() {
		room := scan.Room{Before: scan.End}
		var messages int64
		if err := rows.Scan(&room.ID, &room.Name, &messages); err != nil {
			return nil, 0, err
		}
		rooms, total = append(rooms, &room), total+messages
	}
	if err := rows.Err(); err != nil || !q.Notes {
		return rooms, total, err
	}
	for _, room := range rooms {
		notes := scan.Room{Name: history.NotesRoom(room.Name), Before: scan.End}
		var head, floor int64
		err := r.room.QueryRowContext(ctx, notes.Name).Scan(&notes.ID, &head, &floor)
		if err == nil {
			rooms, total = append(rooms, &notes), total+head-floor
		} else if !errors.Is(err, sql.ErrNoRows) {
			return nil, 0, err
		}
	}
	return rooms, total, nil
}

// scanRooms looks at the messages of rooms, the newest first.
func (r *reader) scanRooms(ctx context.Context, q *history.SearchQuery, rooms []*scan.Room) (history.Found, error) {
	return scan.Rooms(q, rooms, func(room *scan.Room, l history.Limit) ([]history.Message, bool, error) {
		return query(ctx, r.before, room.Name, l, room.ID<<32, at(room.ID, room.Before))
	})
}

// candidatesQuery uses only the index of words.
const candidatesQuery = `SELECT w.rowid, d.message FROM words w JOIN docs d ON d.doc = w.rowid
	WHERE words MATCH ? AND w.rowid < ? AND w.rowid >= ? ORDER BY w.rowid DESC LIMIT ?`

// search looks up a query in the index.
func (x *index) search(ctx context.Context, r *reader, q *history.SearchQuery) (found history.Found, err error) {
	found = history.Found{Hits: []history.Hit{}, Complete: x.complete.Load()}
	before, since := int64(1<<62), int64(0)
	if q.Cursor != "" {
		if before, err = strconv.ParseInt(q.Cursor[1:], 36, 64); err != nil {
			return found, history.ErrBadPage.Wrap("cursor", err)
		}
	} else if !q.Until.IsZero() {
		before = docAt(q.Until.UnixMilli() + 1000)
	}
	if !q.Since.IsZero() {
		since = docAt(q.Since.UnixMilli())
	}
	db := x.db.Load()
	if db == nil {
		found.Complete = false
		return found, nil // it is just being opened
	}
	expression, err := expressionOf(ctx, db, q.Words())
	if err != nil || expression == "" {
		return found, err
	}
	rows, err := db.QueryContext(ctx, candidatesQuery, expression, before, since, scan.PageMessages)
	if err != nil {
		return found, err
	}
	defer rows.Close()
	n, bytes := 0, 0
	for rows.Next() {
		if len(found.Hits) == q.Limit || bytes > scan.PageBytes {
			found.Next = scan.Indexed + strconv.FormatInt(before, 36)
			return found, nil
		}
		var id int64
		if err := rows.Scan(&before, &id); err != nil {
			return found, err
		}
		n++
		m, ok, err := r.searchedMessage(ctx, q, id)
		if err != nil {
			return found, err
		}
		if !ok {
			continue
		}
		bytes += m.Size()
		if hit, ok := q.Match(&m); ok {
			found.Hits = append(found.Hits, hit)
		}
	}
	if n == scan.PageMessages {
		found.Next = scan.Indexed + strconv.FormatInt(before, 36)
	}
	return found, rows.Err()
}

// expressionOf returns words in the syntax of the index, or "" if it has none of them. Words have only
// letters and digits, so quoting makes them plain.
//
// The last one may be the beginning of a word. If SQLite looked up a beginning that is not in the
// index, it would merge the documents of all words that begin so, however many. The index is read
// from the newest document on instead: for a beginning that it has, or for each of the words. If
// these are too many, their common beginning finds too much, and the comparison with the messages
// leaves out the rest.
func expressionOf(ctx context.Context, db *sql.DB, words []string) (string, error) {
	last := len(words) - 1
	word, begin := words[last], []rune(words[last])
	end := `"` + word + `"*`
	if len(begin) > indexPrefix {
		terms, all, err := termsWith(ctx, db, word)
		switch {
		case err != nil || len(terms) == 0:
			return "", err
		case all:
			end = `("` + strings.Join(terms, `" OR "`) + `")`
		default:
			end = `"` + string(begin[:indexPrefix]) + `"*`
		}
	}
	if last == 0 {
		return end, nil
	}
	return `"` + strings.Join(words[:last], `" AND "`) + `" AND ` + end, nil
}

// termsQuery returns the first words of the index that begin with another one. It goes from word to word,
// past their documents: char(1) is before any character of a longer word.
const termsQuery = `WITH RECURSIVE found(term) AS (
	SELECT (SELECT term FROM terms WHERE term >= ?1 LIMIT 1) UNION ALL
	SELECT (SELECT t.term FROM terms t WHERE t.term >= found.term || char(1) LIMIT 1) FROM found WHERE substr(term, 1, length(?1)) = ?1)
	SELECT term FROM found WHERE substr(term, 1, length(?1)) = ?1 LIMIT ?2`

// termsWith returns the words of the index that begin with another one, and whether these are all.
func termsWith(ctx context.Context, db *sql.DB, begin string) (terms []string, all bool, err error) {
	rows, err := db.QueryContext(ctx, termsQuery, begin, searchedTerms+1)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var term string
		if err := rows.Scan(&term); err != nil {
			return nil, false, err
		}
		terms = append(terms, term)
	}
	return terms, len(terms) <= searchedTerms, rows.Err()
}

// searchedMessage reads a message if it is in a room to look in.
func (r *reader) searchedMessage(ctx context.Context, q *history.SearchQuery, id int64) (m history.Message, ok bool, err error) {
	var room, user string
	err = r.owner.QueryRowContext(ctx, id>>32).Scan(&room, &user)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	} else if err != nil {
		return m, false, err
	}
	of, notes := history.NotesOf(room)
	if !notes {
		of = room
	}
	if notes && !q.Notes || strings.HasPrefix(of, "~") || q.Rooms != nil && !slices.Contains(q.Rooms, of) || q.UserID != "" && q.UserID != user {
		return m, false, nil
	}
	err = scanMessage(r.message.QueryRowContext(ctx, id), room, &m)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	return m, err == nil, err
}

// ownerQuery returns a room and whose conversation it, or the room of the notes, is.
const ownerQuery = `SELECT r.room_id, coalesce(r.user_id, (SELECT c.user_id FROM rooms c
	WHERE r.room_id GLOB '~notes/*' AND c.room_id = substr(r.room_id, 8)), '') FROM rooms r WHERE r.id = ?`
