//go:build !linux

package postgrestest

import "testing"

// Pause fails: only on Linux the processes of a server can be found.
func (s *Server) Pause(t testing.TB)  { t.Fatal("a server can be paused only on Linux") }
func (s *Server) Resume(t testing.TB) { t.Fatal("a server can be paused only on Linux") }
