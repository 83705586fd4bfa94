package postgrestest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Pause stops all processes of the server, so that its connections stay open and nothing answers.
// Resume lets them continue.
func (s *Server) Pause(t testing.TB)  { s.signal(t, syscall.SIGSTOP) }
func (s *Server) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	postmaster := s.cmd.Process.Pid
	if err := syscall.Kill(postmaster, sig); err != nil {
		t.Fatal(err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) {
		pid, _ := strconv.Atoi(child)
		syscall.Kill(pid, sig) // it may have ended
	}
}
