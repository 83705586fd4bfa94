package app_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/parley-go/parley/internal/app"
)

// What a visitor writes cannot control the terminal of whoever exports it, and stays the same text.
func TestPrintableJSON(t *testing.T) {
	text := "a\u009b31m\x7f\u202e\u200b\U000e0001ü😀\x1b[2J"
	in, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	const want = `"a\u009b31m\u007f\u202e\u200b\udb40\udc01ü😀\u001b[2J"`
	for size := 1; size <= len(in); size++ { // characters are cut anywhere
		var out bytes.Buffer
		w := app.PrintableJSON(&out)
		for rest := in; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != text || out.String() != want {
			t.Fatalf("in pieces of %d: %s, %v", size, out.String(), err)
		}
	}
}
