package contract

import (
	"cmp"
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/parley-go/parley/event"
)

// expr is the type of a member or an argument.
type expr struct {
	kind   kind
	decl   *decl    // of named
	elem   *expr    // of array, object and nullable
	length int      // of tuple
	object *decl    // of structure: a struct without a name
	values []string // of enum
	ts     string   // of foreign, as TypeScript
}

type kind int

const (
	unknown kind = iota
	boolean
	integer
	number
	text
	bytes // text in base64
	binary
	enum
	array
	tuple
	object // of equal members
	structure
	named
	nullable
	foreign
)

// decl is a declared type.
type decl struct {
	name   string
	bases  []*base
	fields []field
}

// base is an embedded struct.
type base struct {
	decl    *decl
	without []string // members that the embedding struct has itself
	partial bool     // it may be absent
}

type field struct {
	name     string
	doc      string
	optional bool
	of       *expr
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	eventBinary   = reflect.TypeFor[event.Binary]()
)

func isMarshaler(t reflect.Type) bool {
	return implements(t, jsonMarshaler) || implements(t, textMarshaler)
}

// implements also accepts methods of pointers, because values that can be addressed have them.
func implements(t, wanted reflect.Type) bool {
	return t.Implements(wanted) || t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(wanted)
}

// expr returns the expression for a type, and declares it if it has a name. place is where it is used.
func (c *Contract) expr(t reflect.Type, place string) *expr {
	switch {
	case t == nil:
		return &expr{}
	case t == eventBinary:
		return &expr{kind: binary}
	case t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && isMarshaler(t):
		return encoded(t)
	}
	switch t.Kind() {
	case reflect.Bool:
		return &expr{kind: boolean}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return &expr{kind: integer}
	case reflect.Float32, reflect.Float64:
		return &expr{kind: number}
	case reflect.String:
		return &expr{kind: text}
	case reflect.Interface:
		return &expr{}
	case reflect.Pointer:
		return &expr{kind: nullable, elem: c.expr(t.Elem(), place)}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && !isMarshaler(t.Elem()) {
			return &expr{kind: bytes}
		}
		return &expr{kind: array, elem: c.expr(t.Elem(), place)}
	case reflect.Array:
		return &expr{kind: tuple, elem: c.expr(t.Elem(), place), length: t.Len()}
	case reflect.Map:
		if k := t.Key(); k.Kind() != reflect.String && !k.Implements(textMarshaler) && (k.Kind() < reflect.Int || k.Kind() > reflect.Uintptr) {
			c.fail("%s: JSON has no %s", place, t)
		}
		return &expr{kind: object, elem: c.expr(t.Elem(), place)}
	case reflect.Struct:
		if t.Name() == "" {
			d := &decl{name: place}
			c.fill(d, t)
			return &expr{kind: structure, object: d}
		}
		return &expr{kind: named, decl: c.declare(t)}
	}
	c.fail("%s: JSON has no %s", place, t)
	return &expr{}
}

// encoded returns the expression for a type that encodes itself. A method that panics for a zero value
// tells nothing.
func encoded(t reflect.Type) (e *expr) {
	defer func() {
		if recover() != nil {
			e = &expr{}
		}
	}()
	zero, err := json.Marshal(reflect.New(t).Interface())
	if err != nil || len(zero) == 0 {
		return &expr{}
	}
	switch zero[0] {
	case '"':
		return &expr{kind: text}
	case 't', 'f':
		return &expr{kind: boolean}
	case 'n', '{', '[':
		return &expr{}
	}
	return &expr{kind: number}
}

var (
	genericPath = regexp.MustCompile(`[\w./·~-]*[./]`)
	notInName   = regexp.MustCompile(`\W+`)
)

// declare returns the declaration of a struct that has a name.
func (c *Contract) declare(t reflect.Type) *decl {
	if d := c.byType[t]; d != nil {
		return d
	}
	name := notInName.ReplaceAllString(genericPath.ReplaceAllString(t.Name(), ""), "")
	d := &decl{name: name}
	c.byType[t] = d
	if c.byName[name] != nil {
		c.fail("%s: there is another type with the name %s", t, name)
		return d
	}
	c.byName[name] = d
	c.decls = append(c.decls, d)
	c.fill(d, t)
	return d
}

// fill adds the members of a struct.
func (c *Contract) fill(d *decl, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if embedded := f.Type; f.Anonymous && name == "" {
			partial := embedded.Kind() == reflect.Pointer
			if partial {
				embedded = embedded.Elem()
			}
			if embedded.Kind() == reflect.Struct && (f.IsExported() || !partial) {
				c.embed(d, embedded, partial)
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		d.fields = append(d.fields, c.field(d.name, f, cmp.Or(name, f.Name), strings.Split(options, ",")))
	}
	for _, b := range d.bases {
		for _, f := range d.fields {
			if slices.Contains(b.decl.members(), f.name) && !slices.Contains(b.without, f.name) {
				b.without = append(b.without, f.name)
			}
		}
	}
}

// embed adds an embedded struct: as a base, or if its name is not exported, with its members.
func (c *Contract) embed(d *decl, t reflect.Type, partial bool) {
	name := t.Name()
	if name == "" || name[0] < 'A' || name[0] > 'Z' {
		c.fill(d, t)
		return
	}
	if of := c.declare(t); of != d {
		d.bases = append(d.bases, &base{decl: of, partial: partial})
	}
}

func (c *Contract) field(owner string, f reflect.StructField, name string, options []string) field {
	place := owner + "." + name
	k := f.Type.Kind()
	optional := slices.Contains(options, "omitempty") && k != reflect.Struct && k != reflect.Array || slices.Contains(options, "omitzero")
	m := field{name: name, doc: f.Tag.Get("doc"), optional: optional}
	ts, values := f.Tag.Get("ts"), f.Tag.Get("enum")
	switch {
	case ts != "":
		m.of = &expr{kind: foreign, ts: ts}
		for _, name := range names(ts) {
			c.used[name] = place
		}
		return m
	case values != "":
		m.of = &expr{kind: enum, values: strings.Split(values, ",")}
		switch {
		case k == reflect.Slice:
			m.of = &expr{kind: array, elem: m.of}
		case k == reflect.Pointer:
			m.of = &expr{kind: nullable, elem: m.of}
		case k != reflect.String:
			c.fail("%s has the tag enum, but is no string", place)
		}
	case slices.Contains(options, "string"):
		m.of = &expr{kind: text}
	default:
		m.of = c.expr(f.Type, place)
	}
	if optional && m.of.kind == nullable {
		m.of = m.of.elem
	}
	return m
}

var (
	tsString = regexp.MustCompile(`'[^']*'|"[^"]*"`)
	tsName   = regexp.MustCompile(`\b[A-Z]\w*`)
)

// names returns the names of types in a piece of TypeScript.
func names(ts string) (found []string) {
	for _, name := range tsName.FindAllString(tsString.ReplaceAllString(ts, ""), -1) {
		switch name {
		case "Record", "Array", "Partial", "Omit", "Pick", "ArrayBuffer", "Uint8Array":
		default:
			found = append(found, name)
		}
	}
	return found
}

// members returns the names of all members, those of the bases included.
func (d *decl) members() (all []string) {
	for _, b := range d.bases {
		all = append(all, b.decl.members()...)
	}
	for _, f := range d.fields {
		all = append(all, f.name)
	}
	return all
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
