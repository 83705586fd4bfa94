package postgres

import (
	"context"

	"github.com/parley-go/parley/history"
)

// RoomNames implements [history.Names].
func (s *Store) RoomNames(ctx context.Context, user, after string, limit int) ([]string, error) {
	if user != "" {
		return s.names(ctx, "SELECT room_id FROM parley.rooms WHERE user_id = $3 AND room_id > $1 ORDER BY room_id LIMIT $2", after, limit, user)
	}
	return s.names(ctx, "SELECT room_id FROM parley.rooms WHERE room_id > $1 AND NOT starts_with(room_id, '~notes/') ORDER BY room_id LIMIT $2", after, limit)
}

// PersonNames implements [history.Names].
func (s *Store) PersonNames(ctx context.Context, after string, limit int) ([]string, error) {
	return s.names(ctx, "SELECT id FROM parley.people WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
}

func (s *Store) names(ctx context.Context, query, after string, limit int, args ...any) (names []string, err error) {
	limit = history.Limit{Messages: limit}.Prepare().Messages
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		names, err = texts(ctx, q, query, append([]any{after, limit}, args...)...)
		return err
	})
	return names, err
}
