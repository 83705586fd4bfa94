package postgres

import "time"

func (b *Bus) CleanAt(now time.Time) { b.cleanAt(now) }
