// Package words finds words in messages. All stores use it, so that they find the same.
package words

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Text returns what stands in the strings of a JSON value, without the names of members, as one line.
func Text(message []byte) string {
	var line strings.Builder
	add := func(s string) {
		for _, field := range strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			if line.Len() > 0 {
				line.WriteByte(' ')
			}
			line.WriteString(field)
		}
	}
	d := json.NewDecoder(bytes.NewReader(message))
	d.UseNumber()
	var names, objects []bool // for each level: the next string is a name; it is an object
	for {
		token, err := d.Token()
		if err != nil {
			return line.String()
		}
		top := len(objects) - 1
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				if top >= 0 {
					names[top] = objects[top]
				}
				objects, names = append(objects, v == '{'), append(names, v == '{')
			} else {
				objects, names = objects[:top], names[:top]
			}
			continue
		case string:
			if top >= 0 && names[top] {
				names[top] = false
				continue
			}
			add(v)
		}
		if top >= 0 {
			names[top] = objects[top]
		}
	}
}

// fold returns a word without case and diacritics.
func fold(word string) string {
	plain := true
	for i := range len(word) {
		if c := word[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			plain = false
			break
		}
	}
	if plain {
		return word
	}
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(word))
}

// isWord reports whether r is a part of words.
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.M, r) || unicode.Is(unicode.Co, r)
}

// each calls f with each word of a text, folded, and where it stands, until f returns false.
func each(text string, f func(word string, from, to int) bool) {
	from := -1
	for i, r := range text {
		switch {
		case isWord(r) && from < 0:
			from = i
		case !isWord(r) && from >= 0:
			if w := fold(text[from:i]); w != "" && !f(w, from, i) {
				return
			}
			from = -1
		}
	}
	if from >= 0 {
		if w := fold(text[from:]); w != "" {
			f(w, from, len(text))
		}
	}
}

// Split returns the words of a text, folded.
func Split(text string) (words []string) {
	each(text, func(w string, _, _ int) bool {
		words = append(words, w)
		return true
	})
	return words
}

// A Query is a set of words that a text must contain. The last one may be the beginning of a word.
type Query []string

// Find returns where the words of the query stand in a text, and whether all do.
func (q Query) Find(text string) (spans [][2]int, ok bool) {
	last := len(q) - 1
	seen := make([]bool, len(q))
	each(text, func(w string, from, to int) bool {
		hit := false
		for i, want := range q {
			if w == want || i == last && strings.HasPrefix(w, want) {
				seen[i], hit = true, true
			}
		}
		if hit {
			spans = append(spans, [2]int{from, to})
		}
		return true
	})
	for _, s := range seen {
		if !s {
			return nil, false
		}
	}
	return spans, last >= 0
}

const (
	maxExcerpt = 140 // UTF-16 code units
	lead       = 40  // of them at most before the first match
	cut        = "…"
)

// Excerpt returns a part of a line around the first of some spans, and where they stand in it, in
// UTF-16 code units.
func Excerpt(line string, spans [][2]int) (excerpt string, marks [][2]int) {
	marks = [][2]int{}
	from := 0
	if len(spans) > 0 && units(line) > maxExcerpt {
		first := spans[0][0]
		for from = first; from > 0 && units(line[from:first]) < lead; {
			_, size := utf8.DecodeLastRuneInString(line[:from])
			from -= size
		}
		if space := strings.IndexByte(line[from:first], ' '); from > 0 && space >= 0 {
			from += space + 1
		}
	}
	if from > 0 {
		excerpt = cut
	}
	rest := maxExcerpt - units(excerpt)
	to := len(line)
	if units(line[from:]) > rest {
		rest -= units(cut)
		to = from
		for n := 0; to < len(line); {
			r, size := utf8.DecodeRuneInString(line[to:])
			if n += utf16.RuneLen(r); n > rest {
				break
			}
			to += size
		}
	}
	offset := units(excerpt)
	for _, s := range spans {
		if s[0] < from || s[0] >= to {
			continue
		}
		marks = append(marks, [2]int{offset + units(line[from:s[0]]), offset + units(line[from:min(s[1], to)])})
	}
	excerpt += line[from:to]
	if to < len(line) {
		excerpt += cut
	}
	return excerpt, marks
}

// units returns the length of valid UTF-8 in UTF-16 code units.
func units(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}
