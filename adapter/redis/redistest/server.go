// Package redistest runs redis-server in tests.
package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Server is a redis-server with an empty memory, which ends with its test.
type Server struct {
	Addr string

	t     testing.TB
	args  []string
	dir   string
	ready string // what it logs when it answers
	cmd   *exec.Cmd
}

// TLS is an argument of Start: the server speaks TLS.
const TLS = "--with-tls"

// Start starts a server on a free port of the loopback interface. args are further arguments.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, "Ready to accept connections", func(string) []string { return args })
}

// start starts a server. args returns its further arguments, for its directory.
func start(t testing.TB, ready string, args func(dir string) []string) *Server {
	t.Helper()
	for range 10 { // another program may take the port first
		s := &Server{t: t, ready: ready, dir: t.TempDir(), Addr: freeAddr(t)}
		s.args = args(s.dir)
		err := s.run()
		if err == nil {
			t.Cleanup(func() { s.Stop() })
			return s
		}
		t.Log(err)
	}
	t.Fatal("redis-server did not start")
	return nil
}

// freeAddr returns a loopback address that nobody uses at the moment.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// port returns the port of an address.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	args, ports := slices.Clone(s.args), []string{"--port", port(s.Addr)}
	if i := slices.Index(args, TLS); i >= 0 {
		args, ports = slices.Delete(args, i, i+1), []string{"--port", "0", "--tls-port", port(s.Addr)}
	}
	common := append(ports, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir)
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") { // a file of settings comes first
		common, args = append(args[:1:1], common...), args[1:]
	}
	args = append(common, args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.SysProcAttr = parentDeath()
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	var log strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&log, lines.Text())
		if strings.Contains(lines.Text(), s.ready) {
			go io.Copy(io.Discard, out)
			return nil
		}
	}
	return fmt.Errorf("redis-server ended: %v\n%s", s.cmd.Wait(), log.String())
}

// Stop kills the server. A second call has no effect.
func (s *Server) Stop() {
	if s.cmd != nil {
		s.cmd.Process.Signal(os.Kill)
		s.cmd.Wait()
		s.cmd = nil
	}
}

// Restart starts the server again, on the same port.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	var err error
	for range 100 {
		if err = s.run(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal(err)
}

// Pause stops the server's process, and Resume lets it continue.
func (s *Server) Pause()  { s.signal(pauseSignal) }
func (s *Server) Resume() { s.signal(resumeSignal) }

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Do sends a command, with arguments that contain no spaces, and returns the answer: a text, or the first
// line of anything else.
func (s *Server) Do(command string) string {
	s.t.Helper()
	answer, err := s.ask(command)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

func (s *Server) ask(command string) (string, error) {
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	fmt.Fprintf(c, "%s\r\n", command)
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if size, found := strings.CutPrefix(line, "$"); found {
		n, err := strconv.Atoi(size)
		if err != nil || n < 0 {
			return "", err
		}
		text := make([]byte, n)
		_, err = io.ReadFull(r, text)
		return string(text), err
	}
	return line, nil
}

// patience is how long a server may take for what it does within seconds.
const patience = 2 * time.Minute

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("redis: waited in vain for: %s", what)
		}
	}
}

// Answers returns a function that reports whether a server answers a command with a text that has a part.
func (s *Server) Answers(command, part string) func() bool {
	return func() bool {
		answer, err := s.ask(command)
		return err == nil && strings.Contains(answer, part)
	}
}
