// Package contract writes down what a server and its clients say to each other: TypeScript
// declarations, Markdown tables and a JSON Schema, all made from the descriptors of package event and
// the Go types that they name. The Go types stay the only source.
//
//	const PlaceOrder = event.RPC[Order, Receipt]("placeOrder")
//	const OrderShipped = event.Event[Shipment]("orderShipped")
//
//	c := contract.New("Shop").Client(PlaceOrder).Server(OrderShipped)
//	err := c.TypeScript(os.Stdout)
//
// A type is written as encoding/json encodes it:
//
//   - A struct with a name becomes an interface with this name. The name of a generic type has those
//     of its arguments appended. Two types of one name are an error.
//   - An embedded struct becomes a base of the interface.
//   - A member with omitempty or omitzero is optional. A pointer without them may be null.
//   - A slice becomes an array, and a map an object. A nil slice or map encodes as null; the contract
//     does not say so: send an empty one, or use omitempty.
//   - A type with a MarshalJSON or MarshalText method is a string, a number or a boolean if that is
//     what its zero value encodes as. Otherwise it is unknown, as json.RawMessage and interfaces are.
//   - [event.Binary], and a []byte that is an argument itself, is binary data. Other []byte are base64
//     strings.
//
// These tags of a struct's fields say more:
//
//	doc:"in cents"        a comment
//	enum:"small,large"    the strings that the member may have
//	ts:"Size | null"      the type, as TypeScript. A name in it that begins with a capital letter must be that of a declared type.
//
// The output is the same for the same descriptors, so that a test can compare it with a file.
package contract
