package jsonscan_test

import (
	"testing"

	"github.com/parley-go/parley/internal/jsonscan"
)

// Package sio tests Check against encoding/json. This test has the reasons for refusals.
func TestCheck(t *testing.T) {
	for _, test := range []struct {
		text  string
		depth int
		want  error
	}{
		{`{"a":[1,"[[["]}`, 2, nil},
		{`1`, 0, nil},
		{`[[1]]`, 1, jsonscan.ErrDepth},
		{`[[`, 1, jsonscan.ErrDepth},
		{`[}`, 1, jsonscan.ErrSyntax},
		{"\"\xff\"", 1, jsonscan.ErrSyntax},
		{``, 1, jsonscan.ErrSyntax},
	} {
		if err := jsonscan.Check([]byte(test.text), test.depth); err != test.want {
			t.Errorf("%q, %d deep: %v, want %v", test.text, test.depth, err, test.want)
		}
	}
}
