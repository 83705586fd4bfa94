package parley_test

import (
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/architecture.md names each package of the module, or the one that it belongs to, and imports point downwards as it says.
func TestArchitecture(t *testing.T) {
	const module = "github.com/parley-go/parley"
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```\n")
	drawing, rest, _ := strings.Cut(rest, "```\n")
	_, table, _ := strings.Cut(rest, "| package |")
	table, _, _ = strings.Cut(table, "\n\n")
	row := map[string]int{} // by package; the first one is 1
	for i, line := range strings.Split(strings.TrimSpace(drawing), "\n") {
		for _, name := range strings.Fields(line) {
			row[name] = i + 1
		}
	}
	named := map[string]bool{"cmd/parley": true}
	for _, line := range strings.Split(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for _, name := range regexp.MustCompile("`[^`]+`").FindAllString(cell, -1) {
			named[strings.Trim(name, "`")] = true
		}
	}
	for name := range named {
		if info, err := os.Stat(name); name != "parley" && (err != nil || !info.IsDir()) {
			t.Errorf("docs/architecture.md names %s, which does not exist", name)
		}
	}
	files, imports := 0, 0
	err = filepath.WalkDir(".", func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if name := e.Name(); path != "." && (err == nil || name == "node_modules" || name == "testdata" || name == "conformance" || name[0] == '.') {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		name := filepath.ToSlash(filepath.Dir(path))
		if name == "." {
			name = "parley"
		}
		if !named[name] && !named[filepath.ToSlash(filepath.Dir(name))] {
			named[name] = true // said once
			t.Errorf("docs/architecture.md does not name %s", name)
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			from := strings.Trim(i.Path.Value, `"`)
			if from == module {
				from = "parley"
			}
			from = strings.TrimPrefix(from, module+"/")
			if row[name] > 0 && row[from] > 0 {
				if imports++; row[from] <= row[name] {
					t.Errorf("%s imports %s, which does not stand below it in docs/architecture.md", name, from)
				}
			}
		}
		return nil
	})
	if err != nil || files < 100 || imports < 30 {
		t.Errorf("%d files, %d imports, %v", files, imports, err)
	}
}
