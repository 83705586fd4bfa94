package parley

import "time"

// bucket is a pair of token buckets, for events and for bytes. Each holds two seconds' worth.
type bucket struct {
	rate, tokens [2]float64 // events, bytes; a rate of 0 means no limit
	last         time.Time
}

const burstSeconds = 2

func newBucket(events, bytes float64) *bucket {
	b := &bucket{rate: [2]float64{events, bytes}, last: time.Now()}
	for i, r := range b.rate {
		b.tokens[i] = max(r*burstSeconds, 1)
	}
	return b
}

// take takes the tokens for one event of n bytes. It reports false if there are none left.
func (b *bucket) take(n int) bool {
	now := time.Now()
	elapsed := now.Sub(b.last).Seconds()
	b.last = now
	for i, cost := range [2]float64{1, float64(n)} {
		if b.rate[i] <= 0 {
			continue
		}
		b.tokens[i] = min(b.tokens[i]+elapsed*b.rate[i], max(b.rate[i]*burstSeconds, 1))
		if b.tokens[i] <= 0 {
			return false
		}
		b.tokens[i] -= cost // below zero by at most one message
	}
	return true
}
