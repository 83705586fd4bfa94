// Package examples checks that what the documentation shows is in programs that work.
package examples

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guides returns the pages whose samples are quoted from programs, by path.
func guides(t *testing.T) map[string]string {
	paths, err := filepath.Glob("../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, path := range append(paths, "../docs/migrate.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pages[path] = string(text)
	}
	return pages
}

// block is a sample in a page: its language, and its text.
var block = regexp.MustCompile("(?ms)^```(go|js|html|tsx)\n(.*?)^```$")

// trimmed returns lines without what they begin and end with, so that a sample may be indented otherwise.
func trimmed(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return lines
}

// Each sample of the guides is a part of a program of this repository, which the compiler and the tests see. A line
// "…" stands for what is left out.
func TestSamples(t *testing.T) {
	programs := map[string]string{}
	add := func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == "node_modules" || e.Name() == "dist") {
			return fs.SkipDir
		}
		switch filepath.Ext(path) {
		case ".go", ".mjs", ".html", ".tsx", ".ts":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			programs[path] = "\n" + strings.Join(trimmed(string(text)), "\n") + "\n"
		}
		return nil
	}
	for _, dir := range []string{".", "../history", "../client", "../event"} {
		if err := filepath.WalkDir(dir, add); err != nil {
			t.Fatal(err)
		}
	}
	root, err := filepath.Glob("../example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range root {
		if info, err := os.Stat(path); err != nil || add(path, fs.FileInfoToDirEntry(info), nil) != nil {
			t.Fatal(path)
		}
	}
	samples := 0
	for path, text := range guides(t) {
		for _, b := range block.FindAllStringSubmatch(text, -1) {
			samples++
			parts := strings.Split("\n"+strings.Join(trimmed(b[2]), "\n")+"\n", "\n…\n")
			if !quoted(programs, parts) {
				t.Errorf("%s: no program has\n%s", path, b[2])
			}
		}
	}
	if samples < 20 {
		t.Errorf("%d samples", samples)
	}
}

// quoted reports whether a program has the parts, one after the other.
func quoted(programs map[string]string, parts []string) bool {
	for _, text := range programs {
		rest, found := text, true
		for _, part := range parts {
			part = "\n" + strings.Trim(part, "\n") + "\n"
			var before bool
			if _, rest, before = strings.Cut(rest, part); !before {
				found = false
				break
			}
			rest = "\n" + rest
		}
		if found {
			return true
		}
	}
	return false
}

// The cheat sheet's column for Go compiles.
func TestCheatSheet(t *testing.T) {
	text, err := os.ReadFile("../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sheet, _ := strings.Cut(string(text), "## Cheat sheet\n")
	sheet, _, _ = strings.Cut(sheet, "\n## ")
	var body strings.Builder
	rows := 0
	for _, row := range regexp.MustCompile("(?m)^\\| `[^|]*` \\| `([^|]*)` \\|").FindAllStringSubmatch(sheet, -1) {
		rows++
		fmt.Fprintf(&body, "\t_ = func() {\n%s\n}\n", row[1])
	}
	if rows < 30 {
		t.Fatalf("%d rows", rows)
	}
	file := filepath.Join(t.TempDir(), "sheet.go")
	source := "package main\n" + sheetImports + "\nfunc main() {\n" + sheetNames + body.String() + "}\n"
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", os.DevNull, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, source)
	}
}

// What the cheat sheet uses without declaring it.
const (
	sheetImports = `
import (
	"context"
	"regexp"
	"time"

	"github.com/parley-go/parley"
)
`
	sheetNames = `
	var (
		srv  *parley.Server
		s    *parley.Socket
		p    *parley.Packet
		user = parley.NewKey[string]()
		ctx  = context.Background()
		f    parley.Handler
		on   func(*parley.Socket)
		off  func(*parley.Socket, parley.Reason)
		use  func(context.Context, *parley.Socket) error
		id   string
		pattern = regexp.MustCompile("^/room-")
	)
	_, _, _, _, _, _, _, _, _, _, _ = srv, s, p, user, ctx, f, on, off, use, id, pattern
	_ = time.Second
`
)

// Links between the pages lead somewhere.
func TestLinks(t *testing.T) {
	links := 0
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := e.Name(); e.IsDir() && path != ".." && (name == "node_modules" || name == "testdata" || name == "target" || name[0] == '.') {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		prose := regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`").ReplaceAllString(string(text), "")
		for _, l := range regexp.MustCompile(`\]\(([^):\s]*)\)`).FindAllStringSubmatch(prose, -1) {
			links++
			file, heading, _ := strings.Cut(l[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, l[1])
			} else if heading != "" && filepath.Ext(target) == ".md" && !headings(t, target)[heading] {
				t.Errorf("%s links to %s, which has no such heading", path, l[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 50 {
		t.Errorf("%d links", links)
	}
}

// headings returns the anchors of a page, made as GitHub makes them.
func headings(t *testing.T, path string) map[string]bool {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		anchor := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		anchors[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	return anchors
}
