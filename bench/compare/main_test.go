package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"parley/idle.json":  `{"results":[{"scenario":"idle","server":{"bytesPerConnection":4000}}]}`,
		"parley/echo.json":  `{"results":[{"scenario":"echo","window":4,"server":{"cpuMicrosPerUnit":5}}]}`,
		"parley/paced.json": `{"results":[{"scenario":"echo","rate":1000,"latency":{"p50":100,"p99":200}}]}`,
		"node/idle.json":    `{"results":[{"scenario":"idle","server":{"bytesPerConnection":18000},"lost":2,"failed":1}]}`,
		"node/paced.json":   `{"results":[{"scenario":"echo","rate":1000,"latency":{"p50":50,"p99":2500}}]}`,
	} {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o777)
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var servers []server
	for _, name := range []string{"parley", "node"} {
		s, err := read(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	var b strings.Builder
	if err := compare(&b, servers); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"|  | parley | node |\n|---|---:|---:|\n",
		"| memory of an idle connection | 4000 B | 18000 B (4.5 ×) |\n",
		"| CPU of an echo, 4 in flight | 5.0 µs | – |\n",
		"| p50 of 1000 echoes a second | 100 µs | 50 µs (0.5 ×) |\n",
		"| p99 of 1000 echoes a second | 200 µs | 2500 µs (12 ×) |\n",
		"| lost or failed | 0 | 3 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
