package nodewire

import (
	"sync/atomic"
	"time"
)

// A server hears its own words every 2 s. If it does not for 4 s, its connection has become deaf.
const (
	probeEvery = 2 * time.Second
	deafTime   = 4 * time.Second
)

// probe finds out whether the connection still delivers, and replaces it if not.
func (c *Cluster) probe() {
	channel := c.opts.Key + "-probe#" + c.uid + "#" // which servers on Node.js do not hear
	var asked atomic.Int64                          // when the first one without an echo was sent, in nanoseconds; 0: none
	echo := c.conn.Subscribe(channel, false, func(string, []byte) { asked.Store(0) })
	defer echo.Close()
	select {
	case <-echo.Active():
	case <-c.done:
		return
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		since := asked.Load()
		now := time.Now().UnixNano()
		switch {
		case c.down.Load():
			asked.Store(0)
			continue
		case since == 0:
			asked.Store(now)
		case now-since > int64(deafTime):
			asked.Store(0)
			c.opts.Logger.Warn("the connection to the cluster no longer delivers; connecting again")
			c.conn.Reconnect()
			continue
		}
		_ = c.conn.Publish(channel, []byte{})
	}
}
