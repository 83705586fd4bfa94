// Package scan searches a few rooms message by message, which needs no index of words.
package scan

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/parley-go/parley/history"
)

// What a page looks at. It can have fewer hits than its limit, or none, and still a cursor.
const (
	PageMessages = 2000
	PageBytes    = 4 << 20 // of these messages
	Chunk        = 100     // messages that are read from a room at once
)

// Rooms that are searched without an index, if there is one.
const (
	maxRooms    = 100
	maxMessages = 20_000 // in these rooms together
)

// Indexed is how cursors of the index of words begin. Those of Rooms are JSON objects.
const Indexed = "i"

// Suits reports whether a query looks at rooms message by message: few that are not large, or those that a missing
// index cannot find. Otherwise the index of words answers it. The error is [history.ErrNotReady] if there is
// none. rooms is nil if all are meant; messages is how many these have at most. A query goes on as it has begun.
func Suits(q *history.SearchQuery, rooms []*Room, messages int64, indexed, complete bool) (bool, error) {
	small := rooms != nil && len(rooms) <= maxRooms && messages <= maxMessages
	if q.Cursor != "" {
		small = !strings.HasPrefix(q.Cursor, Indexed)
	}
	switch {
	case rooms != nil && (small || !indexed || !complete && len(rooms) <= maxRooms):
		return true, nil
	case !indexed:
		return false, history.ErrNotReady.Wrap("there is no index of words", nil)
	}
	return false, nil
}

// Room is a room in which to look.
type Room struct {
	ID     int64
	Name   string
	Before int64 // messages with a smaller seq are next; at first, larger than any

	buffer []history.Message
	end    bool // nothing follows buffer
}

// End is a Before that is larger than any seq.
const End = 1 << 32

// Rooms looks at the messages of rooms, the newest first. read returns the messages of a room before
// Room.Before, the newest first and as many as Limit allows, and whether there are more.
func Rooms(q *history.SearchQuery, rooms []*Room, read func(*Room, history.Limit) (messages []history.Message, more bool, err error)) (found history.Found, err error) {
	found = history.Found{Hits: []history.Hit{}, Complete: true}
	if q.Cursor != "" {
		var positions map[string]int64 // by number of room; a room that came since has nothing older
		if err := json.Unmarshal([]byte(q.Cursor), &positions); err != nil {
			return found, history.ErrBadPage.Wrap("cursor", err)
		}
		for _, room := range rooms {
			room.Before = positions[strconv.FormatInt(room.ID, 10)]
		}
	}
	for n, bytes := 0, 0; ; n++ {
		var next *Room
		for _, room := range rooms {
			if len(room.buffer) == 0 && !room.end {
				var more bool
				room.buffer, more, err = read(room, history.Limit{Messages: Chunk, Bytes: history.DefaultBytes})
				if err != nil {
					return found, err
				}
				room.end = !more
			}
			if len(room.buffer) > 0 && (next == nil || next.buffer[0].Timestamp.Before(room.buffer[0].Timestamp.Time)) {
				next = room
			}
		}
		switch {
		case next == nil, q.TooOld(&next.buffer[0]):
			return found, nil
		case len(found.Hits) == q.Limit, n == PageMessages, bytes > PageBytes:
			positions := make(map[string]int64, len(rooms))
			for _, room := range rooms {
				positions[strconv.FormatInt(room.ID, 10)] = room.Before
			}
			cursor, err := json.Marshal(positions)
			found.Next = string(cursor)
			return found, err
		}
		m := &next.buffer[0]
		if hit, ok := q.Match(m); ok {
			found.Hits = append(found.Hits, hit)
		}
		bytes += m.Size()
		next.buffer, next.Before = next.buffer[1:], m.Seq
	}
}
