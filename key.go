package parley

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
)

// Key names a value of type T that you store on a socket, such as its user. Declare it as a
// package-level variable of the package that stores the value; packages then cannot collide:
//
//	var currentUser = parley.NewKey[*User]()
//
//	srv.Use(func(ctx context.Context, s *parley.Socket) error {
//		user, err := authenticate(ctx, s)
//		currentUser.Set(s, user)
//		return err
//	})
//
// In a handler, currentUser.Get(s) returns that user, and so does currentUser.Get(ctx). A key is
// safe for concurrent use.
type Key[T any] struct{ name string } // not empty, so that each key has its own address

// NewKey returns a new key.
func NewKey[T any]() *Key[T] { return new(Key[T]) }

// NewNamedKey returns a key whose value moves with its socket to another server of a cluster, as JSON.
// The name must be unique in the program, and the same on all servers. See Recovery.
func NewNamedKey[T any](name string) *Key[T] { return &Key[T]{name} }

// Valuer is where you read a key's value from: a *Socket, its Context or a derived one, or a
// SocketInfo.
type Valuer interface {
	Value(key any) any
}

// Set stores v on the socket. Like Socket.Data, the value survives recovery, but on another server of a
// cluster only if the key has a name.
func (k *Key[T]) Set(s *Socket, v T) { s.setValue(k, v) }

// Get returns the value, or the zero T if there is none.
func (k *Key[T]) Get(from Valuer) T {
	v, _ := k.Lookup(from)
	return v
}

// Lookup returns the value and reports whether there is one.
func (k *Key[T]) Lookup(from Valuer) (v T, ok bool) {
	v, ok = from.Value(k).(T)
	return v, ok
}

// With returns a context that carries the value, for Options.ConnContext: all sockets of the
// connection then have it, unless Set replaces it.
func (k *Key[T]) With(ctx context.Context, v T) context.Context { return context.WithValue(ctx, k, v) }

// keyed is the content of Socket.data if keys have values. It is immutable.
type keyed struct {
	data    any // from SetData
	values  []keyValue
	carried map[string]json.RawMessage // values of named keys, from another server, that nobody has asked for yet
}

// namedKey is a Key with a name.
type namedKey interface {
	label() string
	decode(json.RawMessage) (any, error)
}

func (k *Key[T]) label() string { return k.name }

func (k *Key[T]) decode(data json.RawMessage) (any, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

// pack returns what moves to another server of what is stored on a socket. bare says that values of keys
// stay behind.
func pack(stored any) (data json.RawMessage, keys map[string]json.RawMessage, bare bool) {
	d, _ := stored.(*keyed)
	if d != nil {
		keys = maps.Clone(d.carried)
		for _, v := range d.values {
			k, named := v.key.(namedKey)
			if !named || k.label() == "" {
				bare = true
				continue
			}
			if keys == nil {
				keys = map[string]json.RawMessage{}
			}
			keys[k.label()] = marshal(v.value)
		}
	}
	if v := dataOf(stored); v != nil {
		data = marshal(v)
	}
	return data, keys, bare
}

// unpack undoes pack.
func unpack(data json.RawMessage, keys map[string]json.RawMessage) (stored any) {
	if len(data) > 0 && string(data) != "null" {
		stored = data
	}
	if len(keys) > 0 {
		stored = &keyed{data: stored, carried: keys}
	}
	return stored
}

// restore returns the value of a named key that has come from another server.
func (s *Socket) restore(d *keyed, key any) (v any, ok bool) {
	k, named := key.(namedKey)
	if !named || d == nil || d.carried == nil {
		return nil, false
	}
	data, ok := d.carried[k.label()]
	if !ok || guard(func() (err error) { v, err = k.decode(data); return }) != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, _ = s.data.(*keyed)
	if i := d.index(key); i >= 0 { // another one was faster
		return d.values[i].value, true
	}
	s.data = d.with(s.data, key, v)
	return v, true
}

type keyValue struct{ key, value any }

func (d *keyed) value(key any) (v any, ok bool) {
	if i := d.index(key); i >= 0 {
		return d.values[i].value, true
	}
	return nil, false
}

func (d *keyed) index(key any) int {
	if d == nil {
		return -1
	}
	return slices.IndexFunc(d.values, func(v keyValue) bool { return v.key == key })
}

// Data returns the value that SetData stored.
func (s *Socket) Data() any { return dataOf(s.stored()) }

func dataOf(stored any) any {
	if d, ok := stored.(*keyed); ok {
		return d.data
	}
	return stored
}

// SetData stores a value on the socket. For typed values, and for packages that do not know each
// other, use a Key.
func (s *Socket) SetData(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.data.(*keyed); ok {
		v = &keyed{data: v, values: d.values, carried: d.carried}
	}
	s.data = v
}

// stored returns what is stored on the socket: the value of SetData, or a *keyed.
func (s *Socket) stored() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

func (s *Socket) setValue(key, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, _ := s.data.(*keyed)
	s.data = d.with(s.data, key, value)
}

// with returns a copy of d with a value. If d is nil, data is what is stored without it.
func (d *keyed) with(data, key, value any) *keyed {
	next := &keyed{data: data}
	if d != nil {
		next = &keyed{data: d.data, values: slices.Clone(d.values), carried: d.carried}
	}
	if i := d.index(key); i >= 0 {
		next.values[i].value = value
	} else {
		next.values = append(next.values, keyValue{key, value})
	}
	return next
}

// Value returns the value of a Key: the socket's own, or else that of the context from
// Options.ConnContext. It makes a Socket a Valuer.
func (s *Socket) Value(key any) any {
	if key == (identityKey{}) {
		return s.Identity()
	}
	d, _ := s.stored().(*keyed)
	if v, ok := d.value(key); ok {
		return v
	}
	if v, ok := s.restore(d, key); ok {
		return v
	}
	return s.conn.parent().Value(key)
}
