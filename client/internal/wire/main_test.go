// Package wire_test plays servers for the client: transcripts, and arbitrary bytes. It is apart from the other
// tests of the client because a fuzzer builds everything anew that these link.
package wire_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
