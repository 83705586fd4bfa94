package bench

import "time"

// Latencies returns what is made of latencies that clients have seen in turn.
func Latencies(seen []time.Duration) *Latency {
	m := newMeter()
	for i, l := range seen {
		m.record(i, l)
	}
	return m.latency()
}

// Failures returns what is told of failures.
func Failures(reasons []string) []Failure {
	m := newMeter()
	for _, why := range reasons {
		m.fail(why, 1)
	}
	return m.takeFailures()
}

// Parse returns what is read of a packet.
func Parse(b string) (kind byte, id int64, data string, ok bool) {
	p, ok := parsePacket([]byte(b))
	return byte(p.kind), p.id, string(p.data), ok
}

func IsEvent(data, event string) bool { return packet{data: []byte(data)}.is(event) }

func Number(data string) (int64, bool) { return packet{data: []byte(data)}.number() }

func Refusal(data string) (string, bool) { return packet{data: []byte(data)}.refusal() }

var (
	Listener     = listener
	TableInteger = integer
	TableMicros  = micros
)

// FindServer returns the id of the process that listens there.
func FindServer(host, port string) (int, error) {
	p, err := findServer(host, port)
	if err != nil {
		return 0, err
	}
	return p.pid, nil
}
