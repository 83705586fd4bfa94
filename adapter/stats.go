package adapter

// Stats describes what a server is to its cluster (the first two fields), and what it has done since its
// creation. A message counts once, however many servers it is for.
type Stats struct {
	Peers int  // other servers that are known to be alive
	Up    bool // the bus is connected, and delivers

	Published  uint64 // messages that the bus accepted, including what servers say to each other
	Received   uint64 // messages of other servers
	Dropped    uint64 // messages of this server that were not sent: the bus refused them, or gave up later
	Gaps       uint64 // how often messages for this server may have been lost
	Unanswered uint64 // calls that ended before all servers had answered
	Malformed  uint64 // messages that were not understood
}

// Stats returns the current figures. It is safe for concurrent use.
func (n *Native) Stats() Stats {
	n.mu.Lock()
	peers, dropped := len(n.peers), n.dropped
	up := isClosed(n.ready) && !n.down.Load() && !n.closed
	n.mu.Unlock()
	return Stats{
		Peers: peers, Up: up,
		Published: n.published.Load(), Received: n.received.Load(), Dropped: dropped, Gaps: n.gaps.Load(),
		Unanswered: n.unanswered.Load(), Malformed: n.errors.Load(),
	}
}
