package postgrestest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Run runs one of PostgreSQL's programs, such as pg_dump, and returns what it has written.
func Run(t testing.TB, program string, args ...string) []byte {
	t.Helper()
	bin, err := findPrograms()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(bin, program), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return out
}
