package jsonscan_test

import (
	"bytes"
	"encoding/json"
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

// AppendCompact does what encoding/json does, and neither changes what it reads.
func FuzzAppendCompact(f *testing.F) {
	for _, text := range []string{
		`1`, " 1\n", `"a b"`, `{ "a b" : [ 1 , "\\" , "\" " ] ,"c":{}, "d" : [ ] }`, "\t[\r\ntrue , null\t]", `"\u0020 \\\""`, "\"\u2028 <&\"",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if jsonscan.Check(text, 10_000) != nil {
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, text); err != nil {
			t.Fatal(err)
		}
		given := bytes.Clone(text)
		got := jsonscan.AppendCompact([]byte("before"), text)
		if string(got) != "before"+want.String() || !bytes.Equal(text, given) {
			t.Errorf("%q becomes %q, not %q", given, got, want.Bytes())
		}
	})
}
