package conversation_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/conversation"
)

// docs/protocol.md lists the codes in their order, with the same meanings. Each has an HTTP status.
func TestCodesAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "| code | meaning | again? |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, code := range conversation.Codes() {
		want = append(want, "| `"+string(code)+"` | "+code.Meaning()+" | "+code.Again()+" |")
		if code.Status() < 400 || code.Meaning() == "" || code.Again() == "" {
			t.Errorf("%s: %q, %q, %d", code, code.Meaning(), code.Again(), code.Status())
		}
	}
	if got := strings.Split(table, "\n"); !slices.Equal(got, want) {
		t.Errorf("docs/protocol.md has\n%s\n\nwant\n%s", table, strings.Join(want, "\n"))
	}
	if unknown := conversation.Code("none"); unknown.Meaning() != "" || unknown.Status() != 500 {
		t.Errorf("an unknown code: %q, %d", unknown.Meaning(), unknown.Status())
	}
}
