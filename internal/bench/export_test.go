package bench

import "time"

// Latencies returns the percentiles of the latencies that clients 0, 1, 2, … have seen.
func Latencies(seen []time.Duration) *Latency {
	m := newMeter()
	for i, l := range seen {
		m.record(i, l)
	}
	return m.latency()
}

// Failures returns the counted failures.
func Failures(reasons []string) []Failure {
	m := newMeter()
	for _, why := range reasons {
		m.fail(why, 1)
	}
	return m.takeFailures()
}

// Parse returns the parts of a packet.
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

// FindServer returns the id of the process that listens on the host and port.
func FindServer(host, port string) (int, error) {
	p, err := findServer(host, port)
	if err != nil {
		return 0, err
	}
	return p.pid, nil
}

// Compare compares the rounds of a scenario.
func Compare(a, b []Result) *Comparison {
	c := &Comparison{A: &Report{}, B: &Report{}, Rounds: len(a)}
	c.add(&rounds{name: a[0].Scenario, of: [2][]Result{a, b}})
	return c
}
