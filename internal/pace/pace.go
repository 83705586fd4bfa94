// Package pace does many things within a time, not all at once.
package pace

import (
	"context"
	"time"
)

// Spread calls f with 0 to n-1, in order and evenly over d, the first time at once. It returns after the
// last call, or when ctx ends, with ctx's error.
func Spread(ctx context.Context, d time.Duration, n int, f func(i int)) error {
	begun := time.Now()
	wait := time.NewTimer(0)
	defer wait.Stop()
	for i := range n {
		wait.Reset(time.Until(begun.Add(time.Duration(float64(d) * float64(i) / float64(n)))))
		select {
		case <-wait.C:
			f(i)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
