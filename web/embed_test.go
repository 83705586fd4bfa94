package web_test

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/parley-go/parley/js"
	"github.com/parley-go/parley/web"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(web.Files, name)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = fs.ReadFile(js.Files, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every file that the page references is embedded, here or in package js, and is next to it.
func TestEverythingReferencedIsEmbedded(t *testing.T) {
	reference := regexp.MustCompile(`(?:src|href)="([^"#]+)"|(?:from |import\(|fetch\()'([^']+)'`)
	names, err := fs.Glob(web.Files, "*.js")
	if err != nil || len(names) == 0 {
		t.Fatalf("scripts: %v, %v", names, err)
	}
	found := 0
	for _, name := range append(names, "index.html") {
		for _, match := range reference.FindAllStringSubmatch(read(t, name), -1) {
			if match[1]+match[2] == "certificate-hash" {
				continue // the server generates it
			}
			found++
			read(t, strings.TrimPrefix(match[1]+match[2], "./"))
		}
	}
	if found < 12 {
		t.Errorf("%d references found, want at least 12", found)
	}
}

// The policy forbids these. A browser would complain only at run time.
func TestNothingThePolicyForbids(t *testing.T) {
	inline := regexp.MustCompile(`<script>|<style|\sstyle=|\son[a-z]+=|https?://`)
	if found := inline.FindAllString(read(t, "index.html"), -1); found != nil {
		t.Errorf("index.html contains %q", found)
	}
	sink := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc`)
	for _, name := range []string{"access.js", "chat.js", "desk.js", "front.js", "log.js", "text.js", "timeline.js"} {
		if found := sink.FindAllString(read(t, name), -1); found != nil {
			t.Errorf("%s contains %q", name, found)
		}
	}
	if strings.ContainsAny(web.ContentSecurityPolicy, "\r\n") || strings.Contains(web.ContentSecurityPolicy, "unsafe") {
		t.Errorf("policy: %q", web.ContentSecurityPolicy)
	}
}
