package app

import (
	"context"

	"github.com/parley-go/parley/history"
)

// runRetention deletes old messages until ctx ends or the store is closed. Then it closes done.
func (s *Server) runRetention(ctx context.Context) (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if pruner, ok := s.store.(history.Pruner); ok {
			history.Retention{
				Age: s.config.Retention, Keep: s.config.RetentionMessages, Closed: s.config.RetentionClosedOnly, Logger: s.log,
				Pruned: func(messages int) { s.metrics.pruned.Add(float64(messages)) },
			}.Run(ctx, pruner)
		}
	}()
	return ended
}
