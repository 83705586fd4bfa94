package history

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/jsonscan"
)

// maxPatch is the maximum size of a merge patch in bytes. It may be larger than what it makes,
// because it also names what goes.
const maxPatch = 4 * MaxAttributes

// maxNesting is how deep attributes may be nested. Each level of a patch is read once for each level
// around it, SQLite reads no JSON that is nested more than 1,000 deep, and some clients even less.
const maxNesting = 64

// MergePatch applies a JSON merge patch to a JSON document (RFC 7396, section 2). A nil target is a
// document that does not exist yet. In the result, the members of objects that the patch touches are
// sorted, and each name stands once. An error means that one of the two is not JSON.
func MergePatch(target, patch json.RawMessage) (json.RawMessage, error) {
	changes, err := members(patch)
	if err != nil || changes == nil { // the patch replaces the target
		return compactJSON(patch, err)
	}
	result, err := members(target)
	if err != nil {
		return nil, err
	}
	if result == nil {
		result = make(map[string]json.RawMessage, len(changes))
	}
	for name, change := range changes {
		if string(change) == "null" {
			delete(result, name)
		} else if result[name], err = MergePatch(result[name], change); err != nil {
			return nil, err
		}
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(result)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// members returns the members of an object, and nil for any other value.
func members(data json.RawMessage) (m map[string]json.RawMessage, err error) {
	if text := bytes.TrimLeft(data, " \t\r\n"); len(text) > 0 && text[0] == '{' {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}

func compactJSON(data json.RawMessage, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err = json.Compact(&buf, data)
	return buf.Bytes(), err
}

// patchAttributes applies a merge patch to the attributes of a room or a person, and checks the
// limit. No attributes are nil.
func patchAttributes(attributes, patch json.RawMessage) (json.RawMessage, error) {
	if err := checkPatch(patch); err != nil || patch == nil {
		return attributes, err
	}
	result, err := MergePatch(attributes, patch)
	if err != nil {
		return nil, ErrBadDraft.because("attributes are not JSON")
	}
	mendSurrogates(result)
	if len(result) > MaxAttributes {
		return nil, ErrTooLarge.because("attributes would have " + strconv.Itoa(len(result)) + " bytes")
	}
	if string(result) == "{}" {
		return nil, nil
	}
	return result, nil
}

// checkPatch checks a patch of attributes before it is applied. Nil is no patch.
func checkPatch(patch json.RawMessage) error {
	switch {
	case patch == nil:
		return nil
	case len(patch) > maxPatch:
		return ErrTooLarge.because("attributes have " + strconv.Itoa(len(patch)) + " bytes")
	case !utf8.Valid(patch):
		return ErrBadDraft.because("attributes are not JSON")
	}
	switch jsonscan.Check(patch, maxNesting) {
	case jsonscan.ErrDepth:
		return ErrBadDraft.because("attributes are nested more than " + strconv.Itoa(maxNesting) + " deep")
	case jsonscan.ErrSyntax:
		return ErrBadDraft.because("attributes are not JSON")
	}
	if m, err := members(patch); err != nil || m == nil {
		return ErrBadDraft.because("attributes are not an object")
	}
	return nil
}
