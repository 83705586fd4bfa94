package parley

import (
	"context"
	"slices"
)

// Key names a value of type T that you keep with a socket, such as its user. It is a package-level
// variable of whoever keeps the value, so no two packages get in each other's way:
//
//	var currentUser = parley.NewKey[*User]()
//
//	srv.Use(func(ctx context.Context, s *parley.Socket) error {
//		user, err := authenticate(ctx, s)
//		currentUser.Set(s, user)
//		return err
//	})
//
// In a handler, currentUser.Get(s) is that user, and so is currentUser.Get(ctx). A key is safe for
// concurrent use.
type Key[T any] struct{ _ byte } // has a size, so that each one has its own address

// NewKey returns a new key.
func NewKey[T any]() *Key[T] { return new(Key[T]) }

// Valuer is what the value of a key is read from: a *Socket, its Context or one that descends from
// it, or a SocketInfo.
type Valuer interface {
	Value(key any) any
}

// Set keeps v with the socket. Like Socket.Data it stays when the socket is recovered.
func (k *Key[T]) Set(s *Socket, v T) { s.setValue(k, v) }

// Get returns the value, or the zero T if there is none.
func (k *Key[T]) Get(from Valuer) T {
	v, _ := k.Lookup(from)
	return v
}

// Lookup returns the value and whether there is one.
func (k *Key[T]) Lookup(from Valuer) (v T, ok bool) {
	v, ok = from.Value(k).(T)
	return v, ok
}

// With returns a context with the value, for Options.ConnContext: all sockets of the connection
// have it then, unless Set gives them another one.
func (k *Key[T]) With(ctx context.Context, v T) context.Context { return context.WithValue(ctx, k, v) }

// keyed is what Socket.data holds if there are values of keys. It is immutable.
type keyed struct {
	data   any // of SetData
	values []keyValue
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

// Data returns what SetData has set.
func (s *Socket) Data() any { return dataOf(s.stored()) }

func dataOf(stored any) any {
	if d, ok := stored.(*keyed); ok {
		return d.data
	}
	return stored
}

// SetData keeps a value with the socket. See Key for values that have a type, and for packages that
// do not know of each other.
func (s *Socket) SetData(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.data.(*keyed); ok {
		v = &keyed{data: v, values: d.values}
	}
	s.data = v
}

// stored returns what is kept with the socket: what SetData has set, or a *keyed.
func (s *Socket) stored() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

func (s *Socket) setValue(key, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.data.(*keyed)
	next := &keyed{data: s.data}
	if ok {
		next = &keyed{data: d.data, values: slices.Clone(d.values)}
	}
	if i := d.index(key); i >= 0 {
		next.values[i].value = value
	} else {
		next.values = append(next.values, keyValue{key, value})
	}
	s.data = next
}

// Value returns the value of a Key, or what the context of Options.ConnContext has for the key. It
// makes a Socket a Valuer.
func (s *Socket) Value(key any) any {
	d, _ := s.stored().(*keyed)
	if v, ok := d.value(key); ok {
		return v
	}
	return s.conn.parent().Value(key)
}
