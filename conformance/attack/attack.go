package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
)

// attack is what hostile clients do, and what others may feel of it.
type attack struct {
	name  string
	what  string   // what happens, in a few words
	flags []string // of the server, besides the usual ones
	plain bool     // without TLS, so without WebTransport

	// outside lets everybody connect through an address of this machine that is not exempt from the
	// limits of addresses, as 127.0.0.1 is. The server then believes nobody who a client is.
	outside bool

	// closed makes the server one in which everybody has to prove who they are.
	closed bool

	// do attacks until ctx ends, or less. It runs in a process of its own.
	do    func(ctx context.Context, a *attacker) error
	whole bool                 // wait until do returns
	until func(r *result) bool // or until this is true

	// check checks more bounds than those that every attack has.
	check func(r *result)

	// memory is by how many bytes the server's memory may grow.
	memory int64

	// metric is a counter that shows the attack to the operator, as the server writes it.
	metric string

	// prefill, if not nil, puts something into the data directory before the server starts.
	prefill func(ctx context.Context, data string) error

	// without are flags that switch the defence off, and broken is the bound that the attack then
	// breaks. If no setting does so, doWithout is the same attack in a way that the server has to
	// bear, within limits that the flags set too low.
	without   []string
	doWithout func(ctx context.Context, a *attacker) error
	broken    string

	// unwell says that the attack takes the store away. What needs the store is then refused as
	// unavailable, and the server says so.
	unwell bool
}

// serverFlags returns the flags of the attack's server.
func (a *attack) serverFlags(without bool) ([]string, error) {
	flags := []string{"--http-redirect", "off", "--ping-interval", "10s", "--ping-timeout", "15s"} // see settling
	if a.outside {
		address, err := outsideAddress()
		if err != nil {
			return nil, err
		}
		flags = append(flags, "--addr", net.JoinHostPort(address, "0"), "--insecure-open")
	} else {
		// The server believes this machine who a client is.
		flags = append(flags, "--addr", "127.0.0.1:0", "--trusted-proxies", "127.0.0.1")
	}
	if !a.plain {
		flags = append(flags, "--tls-self-signed")
	}
	if a.closed {
		flags = append(flags, "--visitors", "--token-secret", secret)
	}
	flags = append(flags, a.flags...)
	if without {
		flags = append(flags, a.without...)
	}
	return flags, nil
}

// outsideAddress returns an address of this machine other than that of the loopback interface.
func outsideAddress() (string, error) {
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "", errors.Join(errors.New("this machine has no address other than that of the loopback interface"), err)
}

// transports returns those of the probe.
func (a *attack) transports() []string {
	if a.plain {
		return []string{"websocket", "polling"}
	}
	return []string{"websocket", "polling", "webtransport"}
}

// bound is a figure with its limit.
type bound struct {
	name       string
	got, limit float64
	least      bool // got may not be below the limit, instead of above
	note       string
}

func (b bound) holds() bool {
	if b.least {
		return b.got >= b.limit
	}
	return b.got <= b.limit
}

func (b bound) String() string {
	sign := "≤"
	if b.least {
		sign = "≥"
	}
	text := fmt.Sprintf("%s %s %s %s", b.name, number(b.got), sign, number(b.limit))
	if !b.holds() {
		text = "[" + strings.TrimSpace("BROKEN "+text+" "+b.note) + "]"
	}
	return text
}

// number formats large numbers with their unit.
func number(v float64) string {
	switch {
	case v >= 10e6:
		return fmt.Sprintf("%.0fM", v/1e6)
	case v >= 10e3:
		return fmt.Sprintf("%.0fk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}

// result is what came of an attack.
type result struct {
	report                // the attacker's
	probe         tally   // the good clients'
	before, after metrics // the server's
	memory        int64   // by how many bytes the server's grew at most
	log           []string
	bounds        []bound
}

// check checks all bounds of an attack.
func (r *result) check(a *attack) {
	r.usual(a)
	if a.check != nil {
		a.check(r)
	}
}

// broken reports whether the bound of that name does not hold.
func (r *result) broken(name string) bool {
	for _, b := range r.bounds {
		if b.name == name && !b.holds() {
			return true
		}
	}
	return false
}

// allBroken returns the bounds that do not hold.
func (r *result) allBroken() (broken []bound) {
	for _, b := range r.bounds {
		if !b.holds() {
			broken = append(broken, b)
		}
	}
	return broken
}

// String returns the bounds that are interesting, and what was counted.
func (r *result) String() string {
	var parts []string
	for _, b := range r.bounds {
		if b.limit != 0 || b.got > 0 {
			parts = append(parts, b.String())
		}
	}
	text := strings.Join(parts, ", ")
	if len(r.Counts) > 0 {
		text += fmt.Sprintf("; others: %d answers, %d joins, %d missed", r.probe.done, r.probe.joins, r.probe.missed)
		text += fmt.Sprintf("; attacker: %.1f s", r.Seconds)
		for i, name := range slices.Sorted(maps.Keys(r.Counts)) {
			if i < 10 {
				text += fmt.Sprintf(", %s %s", name, number(float64(r.Counts[name])))
			}
		}
	}
	return text
}

// most checks that a figure does not exceed a limit.
func (r *result) most(name string, got, limit float64, note ...string) {
	r.bounds = append(r.bounds, bound{name, got, limit, false, strings.Join(note, " ")})
}

// least checks that a figure reaches a limit.
func (r *result) least(name string, got, limit float64, note ...string) {
	r.bounds = append(r.bounds, bound{name, got, limit, true, strings.Join(note, " ")})
}

// count returns what the attacker has counted.
func (r *result) count(name string) float64 { return float64(r.Counts[name]) }

// usual checks what every attack must keep.
func (r *result) usual(a *attack) {
	r.most("starved", float64(len(r.probe.starved)), 0, strings.Join(r.probe.starved, ", "))
	r.most("uneven", r.probe.uneven, 4)
	r.most("lost", float64(r.probe.lost), 0)
	r.most("gaps", float64(r.probe.gaps), 0)
	n, text := r.probe.failures()
	r.most("failed", float64(n), 0, text)
	r.most("memory", float64(r.memory), float64(a.memory))
	r.least("attempts", r.count("attempts"), 1)
	if a.metric != "" {
		r.least("metric", r.after[a.metric]-r.before[a.metric], 1, a.metric)
	}
	bad := badLines(r.log, a.unwell)
	r.most("log", float64(len(bad)), 0, first(bad))
}

// first returns the first few of several lines.
func first(lines []string) string { return strings.Join(lines[:min(3, len(lines))], " ¦ ") }

// marker is part of everything that may not be in the log: bodies, tokens, query strings.
const marker = "s3cr3t-marker"

var errorLine = regexp.MustCompile(`^time=\S+ level=ERROR `)

// badLines returns the lines of a log that a client has written, or that should not be there.
func badLines(log []string, unwell bool) (bad []string) {
	for _, line := range log {
		switch {
		case !strings.HasPrefix(line, "time="),
			strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }),
			strings.Contains(line, marker),
			errorLine.MatchString(line) && !unwell:
			bad = append(bad, fmt.Sprintf("%.300q", line))
		}
	}
	return bad
}
