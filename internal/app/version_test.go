package app_test

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/js"
)

// The binary and the npm package have one version.
func TestVersion(t *testing.T) {
	built := func(module, revision string) *debug.BuildInfo {
		info := &debug.BuildInfo{Main: debug.Module{Version: module}}
		if revision != "" {
			info.Settings = []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision}}
		}
		return info
	}
	for _, test := range []struct{ module, revision, want string }{
		{"v1.2.3", "", "1.2.3"}, // go install …@v1.2.3
		{"v1.2.3", "0123456789abcdef0123", "1.2.3"},
		{"v1.2.4-0.20260101000000-0123456789ab", "0123456789abcdef0123", "1.2.3+0123456789ab"},
		{"v1.2.4-0.20260101000000-0123456789ab", "", "1.2.3+1.2.4-0.20260101000000-0123456789ab"}, // go install …@0123456789ab
		{"(devel)", "0123456789abcdef0123", "1.2.3+0123456789ab"},
		{"(devel)", "", "1.2.3"}, // go build -buildvcs=false
		{"", "", "1.2.3"},
	} {
		if got := app.VersionOf("1.2.3", built(test.module, test.revision)); got != test.want {
			t.Errorf("module %q, revision %q: %q, want %q", test.module, test.revision, got, test.want)
		}
	}
	if got, _, _ := strings.Cut(app.Version(), "+"); got != js.Version() {
		t.Errorf("the binary is %q, the package %q", app.Version(), js.Version())
	}
}
