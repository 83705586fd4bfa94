package js_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/js"
)

// The npm package has the files that the binary serves, and exports each of them with its types.
func TestPackageHasWhatIsServed(t *testing.T) {
	var manifest struct {
		Version string
		Files   []string
		Exports map[string]any
	}
	text, err := os.ReadFile("package.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	if js.Version() != manifest.Version || !regexp.MustCompile(`^\d+\.\d+\.\d+(-[\w.]+)?$`).MatchString(manifest.Version) {
		t.Errorf("version %q, want %q", js.Version(), manifest.Version)
	}
	served, err := fs.Glob(js.Files, "*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(manifest.Files)
	if !slices.Equal(manifest.Files, served) {
		t.Errorf("the package has\n%v, and the binary\n%v", manifest.Files, served)
	}
	for _, name := range served {
		module, isCode := strings.CutSuffix(name, ".js")
		if !isCode {
			continue
		}
		door, types := "./"+module, module+".d.ts"
		if module == "parley" {
			door = "."
		}
		export, _ := manifest.Exports[door].(map[string]any)
		if export["default"] != "./"+name || export["types"] != "./"+types || !slices.Contains(served, types) {
			t.Errorf("%q is exported as %v", door, export)
		}
	}
}
