package sio

import (
	"bytes"
	"crypto/rand"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Binary is binary data inside an argument: a field, an element or a map value of this type travels
// as an attachment. On its own, encoding/json treats it like []byte.
type Binary []byte

// encoding/json cannot return binary separately from the text it makes. So before encoding, a copy
// of the argument gets an unguessable mark in place of each Binary. The mark comes out as a base64
// string, like any []byte; afterwards the marks are found in the JSON. encoding/json still handles
// tags, embedding and omission.
//
// A type that encodes itself (json.Marshaler) may do anything with its binaries. Marks can stand
// for them only if the type treats marks like binaries, that is, if its JSON differs only in the
// marks. Otherwise, and where a copy cannot be made, its binaries become base64.

// marks are the replaced binaries of one argument.
type marks struct {
	key       [15]byte // random; 18 bytes with the index, which need no padding in base64
	prefix    []byte   // a quote and the key in base64
	binaries  []Binary
	tooDeep   bool // the search gave up
	selfless  bool // leave types that encode themselves alone
	within    int  // how many such types the search is inside
	entrusted bool // one of them has got a mark
}

// markBinary returns arg with its binaries replaced, or arg itself and nil. If selfless is set, it
// leaves types that encode themselves alone.
func markBinary(arg any, selfless bool) (any, *marks, error) {
	v := reflect.ValueOf(arg)
	if !holdsBinary(v.Type()) {
		return arg, nil, nil
	}
	m := marks{selfless: selfless}
	v, changed := m.replace(v, 0)
	switch {
	case m.tooDeep:
		return nil, nil, errors.New("value contains itself, or nests too deeply")
	case !changed:
		return arg, nil, nil
	}
	return v.Interface(), &m, nil
}

// cut splits JSON at the first mark.
func (m *marks) cut(b []byte) (before []byte, binary Binary, after []byte, found bool) {
	i := bytes.Index(b, m.prefix)
	if i < 0 {
		return b, nil, nil, false
	}
	rest := b[i+len(m.prefix):]
	if len(rest) < 5 || rest[4] != '"' {
		return b, nil, nil, false // a type that encodes itself has cut the mark
	}
	var n [3]byte
	if _, err := base64.StdEncoding.Decode(n[:], rest[:4]); err != nil {
		return b, nil, nil, false
	}
	index := int(n[0])<<16 | int(n[1])<<8 | int(n[2])
	if index >= len(m.binaries) {
		return b, nil, nil, false
	}
	return b[:i], m.binaries[index], rest[5:], true
}

// undo returns the JSON with base64 in place of the marks, as encoding/json writes binaries.
func (m *marks) undo(b []byte) (undone []byte) {
	for {
		before, binary, after, found := m.cut(b)
		undone = append(undone, before...)
		if !found {
			return undone
		}
		undone = append(undone, '"')
		undone = base64.StdEncoding.AppendEncode(undone, binary)
		undone = append(undone, '"')
		b = after
	}
}

// encode encodes a value that has marks. It ignores what types that encode themselves do wrong with
// marks, including panics.
func (m *marks) encode(marked any) (encoded []byte, err error) {
	if m.entrusted {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("panic: %v", v)
			}
		}()
	}
	return appendJSON(nil, marked)
}

func (m *marks) mark(b Binary) Binary {
	if m.binaries == nil {
		rand.Read(m.key[:]) // never fails
		m.prefix = base64.StdEncoding.AppendEncode([]byte{'"'}, m.key[:])
	}
	m.entrusted = m.entrusted || m.within > 0
	n := len(m.binaries)
	m.binaries = append(m.binaries, b)
	return append(m.key[:len(m.key):len(m.key)], byte(n>>16), byte(n>>8), byte(n))
}

// replace returns v with marks in place of binaries. It copies only values that contain binaries.
func (m *marks) replace(v reflect.Value, depth int) (out reflect.Value, changed bool) {
	t := v.Type()
	// A value may contain itself, even several times. So exceeding the depth on one path ends the
	// search on all of them.
	m.tooDeep = m.tooDeep || depth > 1000
	if m.tooDeep || !holdsBinary(t) {
		return v, false
	}
	if t == binaryType {
		if v.IsNil() {
			return v, false
		}
		return reflect.ValueOf(m.mark(v.Interface().(Binary))), true
	}
	if typeOf(t).encodesItself {
		if m.selfless {
			return v, false
		}
		m.within++
		defer func() { m.within-- }()
	}
	// set changes a copy, which it makes at the first change.
	set := func(make func() reflect.Value, assign func(out, r reflect.Value), part reflect.Value) {
		r, ok := m.replace(part, depth+1)
		if !ok {
			return
		}
		if !changed {
			out, changed = make(), true
		}
		assign(out, r)
	}
	clone := func() reflect.Value {
		c := reflect.New(t).Elem()
		c.Set(v)
		return c
	}
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			set(clone, func(out, r reflect.Value) { out.Set(r) }, v.Elem())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			set(func() reflect.Value { return reflect.New(t.Elem()) },
				func(out, r reflect.Value) { out.Elem().Set(r) }, v.Elem())
		}
	case reflect.Struct:
		for _, f := range typeOf(t).fields {
			part := v.FieldByIndex(f.index)
			if f.omitEmpty && part.Type() == binaryType && part.Len() == 0 {
				continue // a mark would not be empty
			}
			set(clone, func(out, r reflect.Value) { out.FieldByIndex(f.index).Set(r) }, part)
		}
	case reflect.Array:
		for i := range v.Len() {
			set(clone, func(out, r reflect.Value) { out.Index(i).Set(r) }, v.Index(i))
		}
	case reflect.Slice:
		copied := func() reflect.Value {
			c := reflect.MakeSlice(t, v.Len(), v.Len())
			reflect.Copy(c, v)
			return c
		}
		for i := range v.Len() {
			set(copied, func(out, r reflect.Value) { out.Index(i).Set(r) }, v.Index(i))
		}
	case reflect.Map:
		copied := func() reflect.Value {
			c := reflect.MakeMapWithSize(t, v.Len())
			for it := v.MapRange(); it.Next(); {
				c.SetMapIndex(it.Key(), it.Value())
			}
			return c
		}
		for it := v.MapRange(); it.Next(); {
			set(copied, func(out, r reflect.Value) { out.SetMapIndex(it.Key(), r) }, it.Value())
		}
	}
	if !changed {
		return v, false
	}
	return out, true
}

var (
	binaryType        = reflect.TypeFor[Binary]()
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	lockerType        = reflect.TypeFor[sync.Locker]()

	typeCache sync.Map // reflect.Type → *typeInfo
)

// typeInfo caches what is known about a type of arguments.
type typeInfo struct {
	holds         bool // a value may contain a Binary that encoding/json would encode
	encodesItself bool
	fields        []fieldInfo
}

// fieldInfo is an exported field of a struct, or a field of an embedded struct with an unexported
// type.
type fieldInfo struct {
	index     []int
	omitEmpty bool
}

func holdsBinary(t reflect.Type) bool { return typeOf(t).holds }

func typeOf(t reflect.Type) *typeInfo {
	if info, ok := typeCache.Load(t); ok {
		return info.(*typeInfo)
	}
	info := &typeInfo{holds: typeHolds(t, map[reflect.Type]bool{}), encodesItself: encodesItself(t)}
	if info.holds && t.Kind() == reflect.Struct {
		info.fields = encodedFields(t)
	}
	typeCache.Store(t, info)
	return info
}

func typeHolds(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == binaryType {
		return true
	}
	if seen[t] || encodesItself(t) && !copyable(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return typeHolds(t.Elem(), seen)
	case reflect.Struct:
		for _, f := range encodedFields(t) {
			if typeHolds(t.FieldByIndex(f.index).Type, seen) {
				return true
			}
		}
	}
	return false
}

// copyable reports whether a value of the type can be copied through its exported fields, without
// sharing or copying a lock.
func copyable(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return true
	}
	for f := range t.Fields() {
		if !f.IsExported() || reflect.PointerTo(f.Type).Implements(lockerType) {
			return false
		}
	}
	return true
}

// encodesItself reports whether encoding/json calls a method of the type for its JSON. For an
// interface type the value decides.
func encodesItself(t reflect.Type) bool {
	if t.Kind() == reflect.Interface {
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(marshalerType) || p.Implements(textMarshalerType)
}

func encodedFields(t reflect.Type) []fieldInfo {
	var fields []fieldInfo
	for i := range t.NumField() {
		switch f := t.Field(i); {
		case f.IsExported():
			_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			omit := slices.Contains(strings.Split(options, ","), "omitempty")
			fields = append(fields, fieldInfo{[]int{i}, omit})
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			for _, inner := range encodedFields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
		}
	}
	return fields
}
