package conversation_test

import (
	"testing"

	"github.com/parley-go/parley/conversation"
)

func TestCodes(t *testing.T) {
	seen := map[conversation.Code]bool{}
	for _, code := range conversation.Codes() {
		if seen[code] || code.Status() < 400 || code.Meaning() == "" || code.Again() == "" {
			t.Errorf("%s: %q, %q, %d", code, code.Meaning(), code.Again(), code.Status())
		}
		seen[code] = true
	}
	if unknown := conversation.Code("none"); unknown.Meaning() != "" || unknown.Status() != 500 {
		t.Errorf("an unknown code: %q, %d", unknown.Meaning(), unknown.Status())
	}
}
