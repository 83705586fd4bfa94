package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/bench"
)

// The samples of docs/guide/testing.md are parts of this package, and its load works.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/guide/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main_test.go")
	if err != nil {
		t.Fatal(err)
	}
	samples := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	for _, sample := range samples {
		if !strings.Contains(string(program), "\n"+sample[1]) {
			t.Errorf("main_test.go does not have\n%s", sample[1])
		}
	}
	load := regexp.MustCompile("(?m)^parley bench (.*) --auth '(.*)' (http://127.0.0.1:3000)$").FindStringSubmatch(string(text))
	if len(samples) < 7 || load == nil {
		t.Fatalf("the guide has %d samples, and %q", len(samples), load)
	}
	srv := newChat(t, nil)
	web := httptest.NewServer(site(srv))
	defer web.Close()
	defer srv.Close()
	args := append(strings.Fields(load[1]), "--auth", load[2], "--duration", "50ms", "--warmup", "0s", "--connections", "10", web.URL)
	var out, errors bytes.Buffer
	if code := bench.Main(t.Context(), args, &out, &errors); code != 0 || !strings.Contains(out.String(), "ack") {
		t.Errorf("parley bench %q returned %d\n%s%s", args, code, out.String(), errors.String())
	}
}
