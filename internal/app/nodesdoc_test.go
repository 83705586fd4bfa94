package app_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/parley-go/parley/internal/postgrestest"
)

// The commands of docs/cluster.md make two servers of one conversation, with each engine.
func TestNodesAsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sh\n(export PARLEY_DATA=.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != len(engines) {
		t.Fatalf("%d blocks of commands for %d engines", len(blocks), len(engines))
	}
	for _, block := range blocks {
		name := map[string]string{"redis": "Redis", "nats:": "NATS", "$PARL": "PostgreSQL", "peers": "nothing"}[regexp.MustCompile("PARLEY_CLUSTER=(.{5})").FindStringSubmatch(block[1])[1]]
		t.Run(name, func(t *testing.T) { runDocumented(t, block[1], engines[name](t)) })
	}
}

// runDocumented runs commands with other addresses.
func runDocumented(t *testing.T, script, engine string) {
	script = regexp.MustCompile(`(?m)^(export PARLEY_DATA=).*$`).ReplaceAllLiteralString(script, "export PARLEY_DATA='"+postgrestest.Database(t)+"'")
	script = regexp.MustCompile(`(?m)^(export PARLEY_CLUSTER=).*$`).ReplaceAllLiteralString(script, "export PARLEY_CLUSTER='"+engine+"'")
	var urls []string
	for _, documented := range []string{"127.0.0.1:8081", "127.0.0.1:8082"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		urls = append(urls, "http://"+l.Addr().String())
		if !strings.Contains(script, documented) {
			t.Fatalf("no %s in\n%s", documented, script)
		}
		script = strings.ReplaceAll(script, documented, l.Addr().String())
		l.Close()
	}
	dir := shortDir(t)
	exe, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = os.Symlink(exe, filepath.Join(dir, "parley"))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", "trap 'kill $(jobs -p); wait' EXIT; trap exit TERM\n"+script+"wait")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asServer+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	for _, url := range urls {
		waitFor(t, url, func() bool {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err == nil {
				conn.Close()
			}
			return err == nil && readiness(t, url) == "ok"
		})
	}
	ann, bob := (&instance{url: urls[0]}).dial(t), (&instance{url: urls[1]}).dial(t)
	join(t, ann, object{"roomId": "r", "userId": "ann"})
	join(t, bob, object{"roomId": "r", "userId": "bob"})
	sent := send(t, ann, object{"roomId": "r", "message": "hello"})
	expect(t, bob, "newMessage", func(m message) bool { return m.ID == sent.ID })
}
