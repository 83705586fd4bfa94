// Package redistest runs redis-server in tests.
package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Server is a redis-server with an empty memory, which ends with its test.
type Server struct {
	Addr string

	t    *testing.T
	args []string
	cmd  *exec.Cmd
}

// Start starts a server on a free port of the loopback interface. args are further arguments.
func Start(t *testing.T, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, args: args}
	for range 10 { // another program may take the port first
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.Addr = l.Addr().String()
		l.Close()
		if err = s.run(); err == nil {
			t.Cleanup(func() { s.Stop() })
			return s
		}
		t.Log(err)
	}
	t.Fatal("redis-server did not start")
	return nil
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	_, port, _ := net.SplitHostPort(s.Addr)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir()}, s.args...)
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
		if strings.Contains(lines.Text(), "Ready to accept connections") {
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

// Do sends a command, with arguments that contain no spaces, and returns the first line of the answer.
func (s *Server) Do(command string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s\r\n", command)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
