package conversation

import (
	"reflect"
	"strings"
	"sync"
)

// Missing returns the name of a member that a request must have and has not, or "". A request is a
// pointer to a struct. It must have the members without omitempty and omitzero, also those of structs
// in it, and none of these may be empty or 0.
func Missing(request any) string { return missing(reflect.ValueOf(request).Elem()) }

func missing(v reflect.Value) string {
	for _, m := range membersOf(v.Type()) {
		switch field := v.Field(m.index); {
		case m.required && field.IsZero():
			return m.name
		case !m.nested || field.IsNil():
		default:
			if name := missing(field.Elem()); name != "" {
				return m.name + "." + name
			}
		}
	}
	return ""
}

// A member is one that must be there, or one in which others must be.
type member struct {
	name     string
	index    int
	required bool
	nested   bool // a pointer to a struct of this package
}

var members sync.Map // of a type, as []member

func membersOf(t reflect.Type) []member {
	if known, ok := members.Load(t); ok {
		return known.([]member)
	}
	var all []member
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		m := member{
			name: name, index: i, required: !strings.Contains(options, "omit"),
			nested: f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct && f.Type.Elem().PkgPath() == t.PkgPath(),
		}
		if m.required || m.nested {
			all = append(all, m)
		}
	}
	members.Store(t, all)
	return all
}
