package sqlite

import (
	"context"

	"github.com/parley-go/parley/history"
)

const (
	roomNamesQuery = "SELECT room_id FROM rooms WHERE room_id > ? AND room_id NOT GLOB '~notes/*' ORDER BY room_id LIMIT ?"
	userRoomsQuery = "SELECT room_id FROM rooms WHERE user_id = ? AND room_id > ? ORDER BY room_id LIMIT ?"
)

// RoomNames implements [history.Names].
func (s *Store) RoomNames(ctx context.Context, user, after string, limit int) ([]string, error) {
	if user != "" {
		return s.names(ctx, userRoomsQuery, user, after, history.Limit{Messages: limit}.Prepare().Messages)
	}
	return s.names(ctx, roomNamesQuery, after, history.Limit{Messages: limit}.Prepare().Messages)
}

// PersonNames implements [history.Names].
func (s *Store) PersonNames(ctx context.Context, after string, limit int) ([]string, error) {
	return s.names(ctx, "SELECT id FROM people WHERE id > ? ORDER BY id LIMIT ?", after, history.Limit{Messages: limit}.Prepare().Messages)
}

func (s *Store) names(ctx context.Context, query string, args ...any) (names []string, err error) {
	err = s.read(ctx, func(r *reader) error {
		names, err = column(ctx, r.conn, query, args...)
		return err
	})
	return names, err
}
