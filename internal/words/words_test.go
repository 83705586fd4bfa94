package words

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestText(t *testing.T) {
	for message, want := range map[string]string{
		`"hi"`: "hi",
		`{"text":"a","n":1,"b":["c",{"d":"e"}],"f":{"g":"h"},"i":"j"}`: "a c e h j",
		`["x",[],{},{"k":[]},"y"]`:                                     "x y",
		`"two\nlines\u0000 and\ttabs  "`:                               "two lines and tabs",
		`null`:                                                         "", `12`: "", `{"only":{"names":true}}`: "",
	} {
		if got := Text([]byte(message)); got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		query, text string
		want        bool
	}{
		{"parcel", "The PARCEL came", true},
		{"parc", "the parcel came", true},
		{"parc came", "the parcel came", false}, // only the last word may be a beginning
		{"came parc", "the parcel came", true},
		{"Ångström", "angstrom", true},
		{"strasse", "Straße", false},
		{"zürich", "Zu\u0308rich", true},
		{`" OR "1`, "or 1", true},
		{"привет", "ПРИВЕТ, мир", true},
		{"…!", "anything", false},
	} {
		if _, got := Query(Split(c.query)).Find(c.text); got != c.want {
			t.Errorf("%q in %q: %v", c.query, c.text, got)
		}
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("wörter davor 😀 ", 30) + "Nadel " + strings.Repeat("danach ", 40)
	for _, line := range []string{"eine Nadel", long, "Nadel" + strings.Repeat("x", 300), strings.Repeat("x", 300) + " nadel"} {
		q := Query(Split("nadel"))
		spans, ok := q.Find(line)
		if !ok {
			t.Fatalf("not found in %q", line)
		}
		excerpt, marks := Excerpt(line, spans)
		u := utf16.Encode([]rune(excerpt))
		if len(u) > maxExcerpt {
			t.Errorf("%d characters: %q", len(u), excerpt)
		}
		if len(marks) != 1 {
			t.Fatalf("marks %v in %q", marks, excerpt)
		}
		if got := fold(string(utf16.Decode(u[marks[0][0]:marks[0][1]]))); !strings.HasPrefix(got, "nadel") {
			t.Errorf("marked %q in %q", got, excerpt)
		}
	}
	if excerpt, marks := Excerpt("short", nil); excerpt != "short" || len(marks) != 0 {
		t.Errorf("%q, %v", excerpt, marks)
	}
	if got := Split("Ein-Wort: größer/2 als_x"); !slices.Equal(got, []string{"ein", "wort", "großer", "2", "als", "x"}) {
		t.Errorf("%q", got)
	}
}
