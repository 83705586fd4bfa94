package contract_test

import (
	"os"

	"github.com/parley-go/parley/contract"
	"github.com/parley-go/parley/event"
)

type (
	Order struct {
		Item string `json:"item"`
		Size string `json:"size,omitempty" enum:"small,large" doc:"small if absent"`
		Note any    `json:"note,omitempty"`
	}
	Receipt struct {
		Order
		Number int `json:"number"`
		Cents  int `json:"cents" doc:"with taxes"`
	}
	Shipment struct {
		Number  int      `json:"number"`
		Carrier *string  `json:"carrier" doc:"null: we bring it ourselves"`
		Parcels []string `json:"parcels"`
	}
)

const (
	PlaceOrder   = event.RPC[Order, Receipt]("placeOrder")
	OrderShipped = event.Event[Shipment]("orderShipped")
)

func Example() {
	shop := contract.New("Shop").
		Client(PlaceOrder).
		Server(OrderShipped).
		Refusals(nil, contract.Refusal{Code: "sold_out", Meaning: "there is none left", Again: "tomorrow"}).
		Describe(PlaceOrder, contract.Details{Doc: "Orders an item.", Codes: []string{"sold_out"}})
	if err := shop.TypeScript(os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// // The contract of Shop. Generated from Go types: do not edit.
	//
	// /** Why the server refuses an event. */
	// export type RefusalCode =
	//   | 'sold_out';
	//
	// /** The acknowledgement of a refused event. */
	// export interface Refusal {
	//   error: { code: RefusalCode; message: string; data?: unknown };
	// }
	//
	// export interface Order {
	//   item: string;
	//   /** small if absent */
	//   size?: 'small' | 'large';
	//   note?: unknown;
	// }
	//
	// export interface Receipt extends Order {
	//   number: number;
	//   /** with taxes */
	//   cents: number;
	// }
	//
	// export interface Shipment {
	//   number: number;
	//   /** null: we bring it ourselves */
	//   carrier: string | null;
	//   parcels: string[];
	// }
	//
	// /** What the server sends, for socket.io-client and parley.js. */
	// export type ServerToClientEvents = {
	//   orderShipped: (argument: Shipment) => void;
	// };
	//
	// /** What clients send, for socket.io-client. The answer is an acknowledgement. */
	// export type ClientToServerEvents = {
	//   /** Orders an item. */
	//   placeOrder: (argument: Order, answer: (answer: Receipt | Refusal) => void) => void;
	// };
	//
	// /** What clients send, for parley.js, with the answers that request() resolves with. */
	// export type ClientRequests = {
	//   /** Orders an item. */
	//   placeOrder(argument: Order): Receipt;
	// };
}

func ExampleContract_Markdown() {
	shop := contract.New("Shop").Client(PlaceOrder).Server(OrderShipped).
		Describe(OrderShipped, contract.Details{Doc: "to who ordered"})
	if err := shop.Markdown(os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// ## From the client
	//
	// | event | argument | answer |
	// | --- | --- | --- |
	// | `placeOrder` | [Order](#order) | [Receipt](#receipt) |
	//
	// ## From the server
	//
	// | event | | argument |
	// | --- | --- | --- |
	// | `orderShipped` | to who ordered | [Shipment](#shipment) |
	//
	// ## Payloads
	//
	// `?` marks members that may be absent.
	//
	// ### Order
	//
	// | member | type | |
	// | --- | --- | --- |
	// | `item` | string | |
	// | `size`? | `'small' \| 'large'` | small if absent |
	// | `note`? | any JSON | |
	//
	// ### Receipt
	//
	// All members of [Order](#order).
	//
	// | member | type | |
	// | --- | --- | --- |
	// | `number` | number | |
	// | `cents` | number | with taxes |
	//
	// ### Shipment
	//
	// | member | type | |
	// | --- | --- | --- |
	// | `number` | number | |
	// | `carrier` | string or null | null: we bring it ourselves |
	// | `parcels` | array of string | |
}
