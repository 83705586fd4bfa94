package contract

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/parley-go/parley/event"
)

// A Contract describes the events between a server and its clients. It is not safe for concurrent
// use. Mistakes in descriptors and types are reported by the methods that write.
type Contract struct {
	name    string
	client  []*message
	server  []*message
	details map[any]Details // by descriptor
	refusal refusal
	decls   []*decl
	byType  map[reflect.Type]*decl
	byName  map[string]*decl
	used    map[string]string // names in ts tags, with a place where each is used
	errs    []error
}

// message is an event.
type message struct {
	descriptor any
	name       string
	arguments  []*expr
	answer     *expr // nil: the event's acknowledgement has no argument, or there is none
	call       bool  // it is acknowledged
}

// Details say what types do not say of an event.
type Details struct {
	Doc   string   // what it does
	Who   string   // who may use it
	Codes []string // of the refusals that it may have
}

// A Refusal documents a code with which a server refuses events.
type Refusal struct {
	Code    string
	Meaning string // as Markdown
	Again   string // when a client may try again, as Markdown
	Status  int    // over HTTP; 0: none
}

type refusal struct {
	codes []Refusal
	data  *expr
}

// New returns an empty contract. Its name is for people, and begins the titles.
func New(name string) *Contract {
	return &Contract{
		name: name, details: map[any]Details{},
		byType: map[reflect.Type]*decl{}, byName: map[string]*decl{}, used: map[string]string{},
	}
}

// Client adds events that clients send. Each is an event.RPC, event.Event or event.Event2.
func (c *Contract) Client(descriptors ...any) *Contract {
	c.add(&c.client, descriptors)
	return c
}

// Server adds events that the server sends. Each is an event.RPC, event.Event or event.Event2. If
// several descriptors have one name, the event has one of their arguments.
func (c *Contract) Server(descriptors ...any) *Contract {
	c.add(&c.server, descriptors)
	return c
}

// Types adds the types of values that no event names, such as those that ts tags name.
func (c *Contract) Types(values ...any) *Contract {
	for _, v := range values {
		c.expr(reflect.TypeOf(v), "Types")
	}
	return c
}

// Describe adds details of an event. Its descriptor must be in the contract when you write it. If
// several have one name, describe the first.
func (c *Contract) Describe(descriptor any, d Details) *Contract {
	c.details[descriptor] = d
	return c
}

// Refusals documents with which codes and data the server refuses events; see [event.Error]. data is
// a value of the data's type, or nil. Without Refusals, a code is any string.
func (c *Contract) Refusals(data any, codes ...Refusal) *Contract {
	c.refusal.codes = codes
	c.refusal.data = nil
	if data != nil {
		c.refusal.data = c.expr(reflect.TypeOf(data), "the data of refusals")
	}
	return c
}

func (c *Contract) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("parley: contract: "+format, args...))
}

var none = reflect.TypeFor[event.None]()

// eventPackage is the path of the package that has the descriptors.
var eventPackage = none.PkgPath()

func (c *Contract) add(to *[]*message, descriptors []any) {
	for _, d := range descriptors {
		t := reflect.TypeOf(d)
		if t == nil || t.PkgPath() != eventPackage || t.Kind() != reflect.String {
			c.fail("%T is no descriptor of an event", d)
			continue
		}
		m := &message{descriptor: d, name: reflect.ValueOf(d).String()}
		if call, ok := t.MethodByName("Call"); ok { // of RPC: the receiver, a context, the other side, the argument
			m.call = true
			m.arguments = c.arguments(m.name, call.Type.In(3))
			if answer := c.arguments(m.name, call.Type.Out(0)); len(answer) > 0 {
				m.answer = answer[0]
			}
		} else if emit, ok := t.MethodByName("Emit"); ok { // of Event and Event2: the receiver, the emitter, the arguments
			for i := 2; i < emit.Type.NumIn(); i++ {
				m.arguments = append(m.arguments, c.arguments(m.name, emit.Type.In(i))...)
			}
		} else {
			c.fail("%T is no descriptor of an event", d)
			continue
		}
		*to = append(*to, m)
	}
}

func (c *Contract) arguments(event string, t reflect.Type) []*expr {
	switch {
	case t == none:
		return nil
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !isMarshaler(t):
		return []*expr{{kind: binary}}
	}
	return []*expr{c.expr(t, "event "+event)}
}

// check returns what is wrong with the contract.
func (c *Contract) check() error {
	errs := c.errs
	failed := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("parley: contract: "+format, args...))
	}
	for _, name := range sorted(c.used) {
		if c.byName[name] == nil && !c.isReserved(name) {
			failed("%s: there is no type %s; add it with Types", c.used[name], name)
		}
	}
	for _, d := range c.decls {
		if c.isReserved(d.name) {
			failed("a type cannot have the name %s", d.name)
		}
	}
	known := map[any]bool{}
	calls := map[string]bool{}
	for _, m := range c.client {
		if calls[m.name] {
			failed("the event %s is there twice", m.name)
		}
		calls[m.name], known[m.descriptor] = true, true
	}
	for _, same := range byName(c.server) {
		known[same[0].descriptor] = true
	}
	codes := map[string]bool{}
	for _, r := range c.refusal.codes {
		codes[r.Code] = true
	}
	var wrong []string
	for d, details := range c.details {
		if !known[d] {
			wrong = append(wrong, fmt.Sprintf("there is no event %v to describe", d))
		}
		for _, code := range details.Codes {
			if !codes[code] {
				wrong = append(wrong, fmt.Sprintf("event %v: there is no code %s", d, code))
			}
		}
	}
	for _, w := range slices.Sorted(slices.Values(wrong)) {
		failed("%s", w)
	}
	return errors.Join(errs...)
}

// isReserved reports whether a name is that of something that is declared beside the types.
func (c *Contract) isReserved(name string) bool {
	switch name {
	case "Refusal", "RefusalCode", "ServerToClientEvents", "ClientToServerEvents", "ClientRequests":
		return true
	}
	return false
}
