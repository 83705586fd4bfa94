package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/internal/scan"
)

// Few rooms that are not large are searched message by message, which needs no index. Everything else is
// looked up in the index.

const (
	searchedAtOnce = 16   // chunks that are looked up in one query, if the last one has found little
	searchedChunks = 1024 // that a page looks up
	fetched        = 100  // messages that are read at once
)

// Search implements [history.Searcher].
func (s *Store) Search(ctx context.Context, q history.SearchQuery) (found history.Found, err error) {
	p, err := q.Prepare()
	if err != nil {
		return history.Found{}, err
	}
	err = s.snapshot(ctx, func(ctx context.Context, c querier) error {
		var indexed, complete bool
		err := c.QueryRow(ctx, "SELECT complete FROM parley.search").Scan(&complete)
		if indexed = err == nil; err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		rooms, total, err := searchedRooms(ctx, c, &p)
		if err != nil {
			return err
		}
		oneByOne, err := scan.Suits(&p, rooms, total, indexed, complete)
		switch {
		case err != nil:
		case oneByOne:
			found, err = scan.Rooms(&p, rooms, func(room *scan.Room, l history.Limit) ([]history.Message, bool, error) {
				return olderThan(ctx, c, room, l)
			})
		default:
			found, err = lookUp(ctx, c, &p)
			found.Complete = complete
		}
		return err
	})
	return found, err
}

// searchedRooms returns the rooms to look in, with their notes if asked for, and how many messages they
// have at most. Nil means all rooms.
func searchedRooms(ctx context.Context, c querier, q *history.SearchQuery) (rooms []*scan.Room, total int64, err error) {
	if q.Rooms == nil && q.UserID == "" {
		return nil, 0, nil
	}
	where, args := "r.room_id = ANY($1)", []any{q.Rooms}
	switch {
	case q.Rooms == nil:
		where, args = "r.user_id = $1", []any{q.UserID}
	case q.UserID != "":
		where, args = "r.room_id = ANY($1) AND r.user_id = $2", []any{q.Rooms, q.UserID}
	}
	rows, err := c.Query(ctx, `SELECT r.id, r.room_id, r.head - r.floor, coalesce(n.id, 0), coalesce(n.head - n.floor, 0)
		FROM parley.rooms r LEFT JOIN parley.rooms n ON n.room_id = '~notes/' || r.room_id
		WHERE `+where+` AND NOT starts_with(r.room_id, '~') ORDER BY r.id`, args...)
	if err != nil {
		return nil, 0, err
	}
	rooms = []*scan.Room{}
	var notes []*scan.Room
	var r, n scan.Room
	var messages, noted int64
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Name, &messages, &n.ID, &noted}, func() error {
		rooms, total = append(rooms, &scan.Room{ID: r.ID, Name: r.Name, Before: scan.End}), total+messages
		if q.Notes && n.ID > 0 {
			notes, total = append(notes, &scan.Room{ID: n.ID, Name: history.NotesRoom(r.Name), Before: scan.End}), total+noted
		}
		return nil
	})
	return append(rooms, notes...), total, err
}

var olderQuery = "SELECT " + columns + " FROM " + fmt.Sprintf(partQuery, older, "m.seq < $2", "seq DESC", 3, 4, "$1") + " m ORDER BY m.seq DESC"

// olderThan reads the messages of a room before Room.Before.
func olderThan(ctx context.Context, c querier, room *scan.Room, l history.Limit) ([]history.Message, bool, error) {
	p := part{limit: l}
	rows, err := c.Query(ctx, olderQuery, room.ID, room.Before, l.Messages+1, l.Bytes)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var m history.Message
		if err := scanMessage(rows, room.Name, &m); err != nil {
			return nil, false, err
		}
		p.add(&m)
	}
	return p.messages, p.more, rows.Err()
}

// place is a place in the order of the index, the newest first.
type place struct {
	day, chunk, at, room, seq int64

	name string // of the room
	size int    // of the message
}

// cursor encodes a place.
func (p place) cursor() string {
	text := scan.Indexed
	for _, n := range [...]int64{p.day, p.chunk, p.at, p.room, p.seq} {
		text += strconv.FormatInt(n, 36) + "."
	}
	return text
}

func placeOf(cursor string) (p place, err error) {
	parts := strings.Split(cursor[1:], ".")
	to := [...]*int64{&p.day, &p.chunk, &p.at, &p.room, &p.seq}
	if len(parts) != len(to)+1 {
		return p, history.ErrBadPage.Wrap("cursor", nil)
	}
	for i := range to {
		if *to[i], err = strconv.ParseInt(parts[i], 36, 64); err != nil {
			return p, history.ErrBadPage.Wrap("cursor", err)
		}
	}
	return p, nil
}

// lookUp looks up a query in the index, from chunk to chunk.
func lookUp(ctx context.Context, c querier, q *history.SearchQuery) (found history.Found, err error) {
	found.Hits = []history.Hit{}
	const end = 1 << 62
	from := place{day: end, chunk: end, at: end}
	if q.Cursor != "" {
		if from, err = placeOf(q.Cursor); err != nil {
			return found, err
		}
	} else if !q.Until.IsZero() {
		from.day = q.Until.UnixMilli() / dayMillis
	}
	chunks, err := chunksFrom(ctx, c, q, from)
	if err != nil {
		return found, err
	}
	looked, bytes := 0, 0 // at messages
	all := len(chunks)
	for n := 1; len(chunks) > 0; {
		group := chunks[:min(n, len(chunks))]
		limit := min(scan.PageMessages-looked, max(2*q.Limit, fetched))
		places, last, full, err := candidates(ctx, c, q, group, from, limit)
		if err != nil {
			return found, err
		}
		for len(places) > 0 {
			some, size := 0, 0
			for some < min(len(places), fetched) && (some == 0 || size+places[some].size < history.MaxMessage) {
				size += places[some].size
				some++
			}
			messages, err := messagesAt(ctx, c, places[:some])
			if err != nil {
				return found, err
			}
			for i := range messages {
				if len(found.Hits) == q.Limit || bytes > scan.PageBytes {
					found.Next = from.cursor()
					return found, nil
				}
				from = places[i]
				looked++
				bytes += messages[i].Size()
				if hit, ok := q.Match(&messages[i]); ok {
					found.Hits = append(found.Hits, hit)
				}
			}
			places = places[some:]
		}
		from = last
		switch {
		case looked >= scan.PageMessages:
			found.Next = from.cursor()
			return found, nil
		case full: // the chunk of the last place has more
			for chunks[0].chunk != last.chunk {
				chunks = chunks[1:]
			}
			n = 1
		default:
			chunks = chunks[len(group):]
			n = min(2*len(group), searchedAtOnce)
		}
	}
	if all == searchedChunks {
		found.Next = from.cursor()
	}
	return found, nil
}

// chunksFrom returns the next chunks to look at, as places at their ends.
func chunksFrom(ctx context.Context, c querier, q *history.SearchQuery, from place) (chunks []place, err error) {
	since := int64(0)
	if !q.Since.IsZero() {
		since = q.Since.UnixMilli() / dayMillis
	}
	rows, err := c.Query(ctx, `SELECT day, chunk FROM parley.chunks WHERE (day, chunk) <= ($1, $2) AND day >= $3
		ORDER BY day DESC, chunk DESC LIMIT $4`, from.day, from.chunk, since, searchedChunks)
	if err != nil {
		return nil, err
	}
	p := place{at: -1}
	_, err = pgx.ForEachRow(rows, []any{&p.day, &p.chunk}, func() error { chunks = append(chunks, p); return nil })
	return chunks, err
}

// expressionOf returns the words of a query, in some chunks, as the text of a tsquery.
func expressionOf(words []string, chunks []place) string {
	var alternatives []string
	for _, c := range chunks {
		terms := make([]string, len(words))
		for i, w := range words {
			terms[i] = lexemes(c.chunk, w)
		}
		terms[len(terms)-1] += ":*" // the last one may be the beginning of a word
		alternatives = append(alternatives, strings.Join(terms, " & "), lexemes(c.chunk, anyWords))
	}
	return strings.Join(alternatives, " | ")
}

// candidatesQuery finds places in the index first, then leaves out those in other rooms, and looks at the
// messages of the first ones. OFFSET 0 keeps the server from going through all rooms instead.
const candidatesQuery = `WITH d AS MATERIALIZED (SELECT chunk, at, room, seq FROM parley.docs
		WHERE words @@ $1::tsquery AND (chunk <> $3 OR (at, room, seq) < ($4, $5, $6)) AND at >= $8)
	SELECT x.chunk, x.at, x.room, x.seq, x.room_id, coalesce(m.size, -1) FROM (
		SELECT d.*, r.room_id, array_position($2::bigint[], d.chunk) AS n
		FROM d, LATERAL (SELECT room_id FROM parley.rooms WHERE id = d.room OFFSET 0) r,
		LATERAL (SELECT CASE WHEN starts_with(r.room_id, '~notes/') THEN substr(r.room_id, 8) ELSE r.room_id END AS of) o
		WHERE NOT starts_with(o.of, '~')%s
		ORDER BY n, d.at DESC, d.room DESC, d.seq DESC LIMIT $7) x
	LEFT JOIN LATERAL (SELECT octet_length(message) AS size FROM parley.messages WHERE room = x.room AND seq = x.seq OFFSET 0) m ON true
	ORDER BY x.n, x.at DESC, x.room DESC, x.seq DESC`

// candidates returns the first messages after a place that have the words of a query and are in rooms to look
// in. The index may be behind, so what the messages say must be compared. last is how far it has come: to
// the last of more messages, if full, or to the end of the chunks.
func candidates(ctx context.Context, c querier, q *history.SearchQuery, chunks []place, from place, limit int) (places []place, last place, full bool, err error) {
	numbers := make([]int64, len(chunks))
	days := make(map[int64]int64)
	for i, chunk := range chunks {
		numbers[i], days[chunk.chunk] = chunk.chunk, chunk.day
	}
	since := int64(0)
	if !q.Since.IsZero() {
		since = q.Since.UnixMilli()
	}
	where, args := "", []any{expressionOf(q.Words(), chunks), numbers, from.chunk, from.at, from.room, from.seq, limit, since}
	arg := func(value any) string {
		args = append(args, value)
		return fmt.Sprint("$", len(args))
	}
	if q.Rooms != nil {
		where += " AND o.of = ANY(" + arg(q.Rooms) + ")"
	}
	if q.UserID != "" {
		where += " AND EXISTS (SELECT 1 FROM parley.rooms u WHERE u.room_id = o.of AND u.user_id = " + arg(q.UserID) + ")"
	}
	if !q.Notes {
		where += " AND o.of = r.room_id"
	}
	rows, err := c.Query(ctx, fmt.Sprintf(candidatesQuery, where), args...)
	if err != nil {
		return nil, last, false, err
	}
	var p place
	read := 0
	_, err = pgx.ForEachRow(rows, []any{&p.chunk, &p.at, &p.room, &p.seq, &p.name, &p.size}, func() error {
		p.day = days[p.chunk]
		last = p
		read++
		if p.size >= 0 { // otherwise it is gone
			places = append(places, p)
		}
		return nil
	})
	if full = read == limit; !full {
		last = chunks[len(chunks)-1]
	}
	return places, last, full, err
}

// messagesAt reads messages, which exist.
func messagesAt(ctx context.Context, c querier, places []place) ([]history.Message, error) {
	rooms, seqs := make([]int64, len(places)), make([]int64, len(places))
	for i, p := range places {
		rooms[i], seqs[i] = p.room, p.seq
	}
	rows, err := c.Query(ctx, "SELECT "+columns+` FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS x(room, seq, n)
		JOIN parley.messages m ON m.room = x.room AND m.seq = x.seq ORDER BY x.n`, rooms, seqs)
	if err != nil {
		return nil, err
	}
	messages := make([]history.Message, 0, len(places))
	defer rows.Close()
	for rows.Next() {
		var m history.Message
		if err := scanMessage(rows, places[len(messages)].name, &m); err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, rows.Err()
}
