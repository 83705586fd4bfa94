package parley_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// "make soak" names every package whose tests are longer there, themselves or through a suite, and every such file of
// the conformance.
func TestSoak(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, target, _ := strings.Cut(string(makefile), "\nsoak: deps\n")
	target, _, _ = strings.Cut(target, "\n\n")
	named := strings.Fields(target)
	const module = "github.com/parley-go/parley/"
	longer := regexp.MustCompile(`"` + module + `(internal/soak|adapter/adaptertest|history/historytest)"|\bsoak\(`)
	found := 0
	err = filepath.WalkDir(".", func(file string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		if e.IsDir() {
			if name := e.Name(); file != "." && (name == "node_modules" || name == "testdata" || name[0] == '.') {
				return filepath.SkipDir
			}
			return nil
		}
		isGo := strings.HasSuffix(file, "_test.go")
		if !isGo && !strings.HasSuffix(file, ".test.mjs") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil || !longer.Match(text) {
			return err
		}
		found++
		ok := slices.Contains(named, path.Base(file))
		if isGo {
			ok = slices.ContainsFunc(named, func(pattern string) bool {
				parent, below := strings.CutSuffix(pattern, "/...")
				dir := "./" + path.Dir(file)
				return pattern == dir || pattern == "." && dir == "./." || below && (dir == parent || strings.HasPrefix(dir, parent+"/"))
			})
		}
		if !ok {
			t.Errorf("make soak leaves out %s", file)
		}
		return nil
	})
	if err != nil || found < 20 {
		t.Errorf("%d files are longer, %v", found, err)
	}
}
