package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// span is how long an attack goes on at least, unless it has finished. The good clients may need
// longer for what they do.
const span = 1500 * time.Millisecond

// report is what the attacker has counted: attempts, bytes, frames, closed, refused and so on.
type report struct {
	Counts  map[string]int64
	Seconds float64 // how long the attack lasted
}

// attacker is the process that attacks. It is safe for concurrent use.
type attacker struct {
	target
	Data   string // the server's data directory
	Binary string

	mu     sync.Mutex
	counts map[string]int64
}

// count adds to a count.
func (a *attacker) count(name string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[name] += int64(n)
}

// each runs f n times at once and waits until all have returned. It counts them as attempts.
func (a *attacker) each(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		a.count("attempts", 1)
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// failed counts an error as what it means for an attacker.
func (a *attacker) failed(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	a.count("refused", 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.counts) < 30 {
		a.counts[fmt.Sprintf("refused: %.120v", err)]++
	}
}

// inFlight bounds the bytes of a connection that were written and that the server has not taken: the
// kernel's buffers at both ends.
const inFlight = 12 << 20

// littleInFlight is the same for connections of HTTP/2, whose send buffer is small because their
// frames are.
const littleInFlight = 3 << 20

// dial opens a connection, with TLS if the server has it, that ends with ctx. Without a protocol it
// is HTTP/1.1.
func (a *attacker) dial(ctx context.Context, protocols ...string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.Host)
	if err != nil {
		return nil, err
	}
	if len(protocols) > 0 {
		conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if !a.TLS {
		return conn, nil
	}
	if len(protocols) == 0 {
		protocols = []string{"http/1.1"}
	}
	secure := tls.Client(conn, tlsConfig(protocols...))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// counted returns a condition: the attacker has counted so many.
func counted(name string, n int64) func(*result) bool {
	return func(r *result) bool { return r.Counts[name] >= n }
}

// websocket opens a WebSocket with a new session.
func (a *attacker) websocket(ctx context.Context) (net.Conn, error) {
	c, err := a.compressed(ctx, nil)
	if err != nil {
		return nil, err
	}
	return c.Conn, nil
}

// compressed opens a WebSocket and offers compression.
func (a *attacker) compressed(ctx context.Context, offer *ws.Compression) (*ws.Connected, error) {
	c, resp, err := ws.Connect(ctx, a.handshake("websocket"), &ws.DialOptions{
		Header: from(attackerAddress), TLS: tlsConfig(), Compression: offer,
	})
	if err != nil {
		return nil, refused(err, resp)
	}
	context.AfterFunc(ctx, func() { c.Conn.Close() })
	return c, nil
}

// drop reads and drops what arrives, and counts the end as the server's doing.
func (a *attacker) drop(ctx context.Context, r io.Reader) {
	n, _ := io.Copy(io.Discard, r)
	a.count("received", int(n))
	a.ended(ctx)
}

// ended counts the end of a connection as the server's doing, unless the attack is over.
func (a *attacker) ended(ctx context.Context) {
	if ctx.Err() == nil {
		a.count("closed", 1)
	}
}

// cut counts a write that failed as the server's doing, unless the attack is over.
func (a *attacker) cut(ctx context.Context) {
	if ctx.Err() == nil {
		a.count("cut", 1)
	}
}

// flood writes b again and again, until the server closes, ctx ends, or most bytes are written. b
// holds a number of units, such as frames.
func (a *attacker) flood(ctx context.Context, w io.Writer, b []byte, units int, most int64) {
	for sent := int64(0); sent < most && ctx.Err() == nil; sent += int64(len(b)) {
		n, err := w.Write(b)
		a.count("bytes", n)
		a.count("units", units*n/len(b))
		if err != nil {
			a.cut(ctx)
			return
		}
	}
}

// beAttacker runs an attack in this process, until standard input ends.
func beAttacker(at *attack, without bool) error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	a := &attacker{counts: make(map[string]int64)}
	if err := json.Unmarshal(line, a); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience+10*time.Second)
	defer cancel()
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	begun := time.Now()
	out := json.NewEncoder(os.Stdout)
	tell := func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		return out.Encode(report{a.counts, time.Since(begun).Seconds()})
	}
	ended := make(chan error, 1)
	do := at.do
	if without && at.doWithout != nil {
		do = at.doWithout
	}
	go func() { ended <- do(ctx, a) }()
	for {
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				return err
			}
			return tell() // what still runs ends with the process
		case <-time.After(50 * time.Millisecond):
			if err := tell(); err != nil {
				return err
			}
		}
	}
}

// hostile is a running attacker.
type hostile struct {
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{} // closed when it has ended
	err   error         // how, afterwards

	mu     sync.Mutex
	latest report
}

// attack starts the attacker as a process of the lowest priority.
func (h *harness) attack(ctx context.Context, a *attack, s *server, without bool) (*hostile, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := []string{self, "-as", a.name, fmt.Sprint("-without=", without)}
	if h.perf { // then the processor time that it takes from the others would be taken for harm
		command = append([]string{"nice", "-n", "19"}, command...)
	}
	p := &hostile{cmd: exec.CommandContext(ctx, command[0], command[1:]...), done: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.stdin = stdin
	json.NewEncoder(stdin).Encode(&attacker{target: s.target, Data: s.data, Binary: h.binary})
	go func() {
		defer close(p.done)
		for out := json.NewDecoder(stdout); ; {
			var r report
			if out.Decode(&r) != nil {
				break
			}
			p.mu.Lock()
			p.latest = r
			p.mu.Unlock()
		}
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// report returns what the attacker has said last.
func (p *hostile) report() report {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

func (p *hostile) finished() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the attack and returns the attacker's report.
func (p *hostile) stop() (report, error) {
	p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Kill()
		return report{}, errors.New("the attacker does not end")
	}
	if p.err != nil {
		return report{}, fmt.Errorf("the attacker failed: %w", p.err)
	}
	return p.report(), nil
}
