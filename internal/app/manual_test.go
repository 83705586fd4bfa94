package app_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
)

// To update the file: go run ./cmd/parley help cli > docs/cli.md
func TestManualIsUpToDate(t *testing.T) {
	file, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != app.Manual() {
		t.Error("docs/cli.md is not what parley help cli prints")
	}
	for _, name := range app.CommandNames() {
		if !strings.Contains(string(file), "\n## parley "+name) {
			t.Errorf("docs/cli.md lacks %s", name)
		}
	}
}

// Each command prints with --json what the manual says: no other members, and all that are required.
func TestJSONIsAsDocumented(t *testing.T) {
	s := filled(t)
	s.environ = []string{"XDG_CONFIG_HOME=" + t.TempDir()}
	s.search = true
	s.serve()
	waitFor(t, "the index", func() bool { code, _, _ := s.run("", "search", "hello"); return code == 0 })
	s.must("", "context", "add", "shop", "--url", "https://chat.example.com")
	token := strings.TrimSpace(s.must("", "token", "create", "--user", "u7", "--room", "c_*=rw"))
	printed := map[string]string{}
	for _, c := range []struct{ name, more, stdin string }{
		{"tail", "lounge --count 2", ""},
		{"send", "lounge {}", ""},
		{"history", "lounge", ""},
		{"rooms", "", ""},
		{"status", "", ""},
		{"note", "c_1 text", ""},
		{"label", "c_1 vip", ""},
		{"assign", "c_1 nobody", ""},
		{"close", "c_1", ""},
		{"reopen", "c_1", ""},
		{"search", "hello", ""},
		{"context list", "", ""},
		{"operator add", "ann --admin --email ann@example.com --name Ann --password-stdin", "correct horse battery"},
		{"operator list", "", ""},
		{"keys add", "bot --expires 30d --room order-*=rw", ""},
		{"keys rotate", "", ""},
		{"keys list", "", ""},
		{"token create", "--operator ann", ""},
		{"token check", "", token},
		{"ban add", "--user u9 --until 24h --reason spam", ""},
		{"ban list", "", ""},
		{"revoke", "--user u9 --reason spam", ""},
		{"erase", "--user u7 --yes", ""},
		{"config show", "", ""},
	} {
		args := append(strings.Fields(c.name), strings.Fields(c.more)...)
		printed[c.name] = s.must(c.stdin, append(args, "--json")...)
	}
	for name, as := range app.Prints() {
		text := printed[name]
		lines := strings.Count(text, "\n")
		if lines == 0 || !as.Lines && lines != 1 {
			t.Errorf("%s prints %q", name, text)
		}
		for line := range strings.Lines(text) {
			d := json.NewDecoder(strings.NewReader(line))
			d.DisallowUnknownFields()
			v := reflect.New(as.Type)
			if err := d.Decode(v.Interface()); err != nil {
				t.Errorf("%s prints %s: %v", name, line, err)
			}
			var members map[string]any
			json.Unmarshal([]byte(line), &members)
			shape := strings.TrimSuffix(strings.TrimPrefix(app.Shape(as.Type), "{"), "}")
			for nested := regexp.MustCompile(`\{[^{}]*\}`); nested.MatchString(shape); { // of the outer object only
				shape = nested.ReplaceAllString(shape, "object")
			}
			for _, member := range strings.Split(shape, ", ") {
				key, _, ok := strings.Cut(member, ": ")
				if _, has := members[key]; ok && !strings.Contains(key, "?") && !has {
					t.Errorf("%s prints %s, without %s", name, line, key)
				}
			}
		}
	}
}

func TestExportSinceATime(t *testing.T) {
	s := filled(t)
	if all, some := s.must("", "export", "--all"), s.must("", "export", "--all", "--since", "1h"); all != some {
		t.Errorf("all is\n%s\nsince an hour\n%s", all, some)
	}
	if none := s.must("", "export", "--all", "--since", "2999-01-01"); strings.Contains(none, `"message"`) || !strings.Contains(none, `"end":true`) {
		t.Errorf("in the future:\n%s", none)
	}
	if code, _, stderr := s.run("", "export", "--all", "--since", "yesterday"); code != 2 || !strings.Contains(stderr, "want a time such as") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// Shells ask the program what could come next.
func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"op":                      "operator",
		"operator ":               "add disable enable list passwd remove",
		"operator add --pa":       "--password-stdin",
		"operator add ann --no":   "--no-password",
		"ban remove --":           "--config --data --network --state-dir --user",
		"token check --jw":        "--jwks",
		"help ba":                 "backup ban",
		"help ban ":               "add list remove",
		"completion ":             "bash fish zsh",
		"--acme-d":                "--acme-directory --acme-domains",
		"serve --acme-d":          "--acme-directory --acme-domains",
		"config check --acme-d":   "--acme-directory --acme-domains",
		"operator add ann --acme": "",
		"nothing ":                "",
		"backup ":                 "", // then shells complete files
	} {
		args := append([]string{"completion", "words"}, strings.Split(line, " ")...)
		code, stdout, stderr := command(nil, args...)
		if got := strings.Join(strings.Fields(stdout), " "); code != 0 || got != want || stderr != "" {
			t.Errorf("%q: %d, %q, %q", line, code, got, stderr)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, stdout, _ := command(nil, "completion", shell); code != 0 || !strings.Contains(stdout, "parley completion words") {
			t.Errorf("%s: %d, %q", shell, code, stdout)
		}
	}
	if code, _, stderr := command(nil, "completion", "tcsh"); code != 2 || !strings.Contains(stderr, "bash, zsh and fish") {
		t.Errorf("another shell: %d, %q", code, stderr)
	}
}
