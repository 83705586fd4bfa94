package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/parley-go/parley/contract"
	"github.com/parley-go/parley/conversation"
)

const typesUsage = `parley types [--lang ts|md|schema]

Prints the contract between the server and its clients: the events, their payloads and the codes of
refusals, as TypeScript declarations, Markdown tables or a JSON Schema. The default is ts.
`

// clientEvents and serverEvents are all events, in the order of the documentation.
var (
	clientEvents = []any{
		conversation.Hello, conversation.StartConversation, conversation.JoinRoom, conversation.LeaveRoom,
		conversation.SendMessage, conversation.EditMessage, conversation.DeleteMessage, conversation.History,
		conversation.MarkRead, conversation.MarkUnread, conversation.StartTyping,
		conversation.ListRooms, conversation.WatchRooms, conversation.UnwatchRooms,
		conversation.ClaimRoom, conversation.TransferRoom, conversation.CloseRoom, conversation.ReopenRoom,
		conversation.Answered, conversation.UpdateRoom, conversation.AddNote, conversation.Search,
		conversation.Identify, conversation.Refresh, conversation.SetStatus,
		conversation.GetPerson, conversation.UpdatePerson,
	}
	serverEvents = []any{
		conversation.NewMessage, conversation.MessageChanged, conversation.NewNote, conversation.NoteChanged,
		conversation.RoomChanged, conversation.OwnRoomChanged, conversation.RoomGone, conversation.Read,
		conversation.Typing, conversation.PresenceChanged, conversation.OperatorChanged, conversation.VisitorChanged,
		conversation.TokenExpiring, conversation.PageSent, conversation.JoinedSent, conversation.ErrorNotice,
	}
)

// Contract returns the contract of the server's events.
func Contract() *contract.Contract {
	c := contract.New("Parley").
		Types(conversation.Content{}, conversation.NoteContent{}).
		Client(clientEvents...).Server(serverEvents...)
	var codes []contract.Refusal
	for _, code := range conversation.Codes() {
		codes = append(codes, contract.Refusal{Code: string(code), Meaning: code.Meaning(), Again: code.Again(), Status: code.Status()})
	}
	c.Refusals(conversation.RefusalData{}, codes...)
	for _, event := range clientEvents {
		access, _ := conversation.AccessTo(fmt.Sprint(event))
		described := conversation.Describe(event)
		d := contract.Details{Doc: described.Does, Who: access.String()}
		for _, code := range described.Codes {
			d.Codes = append(d.Codes, string(code))
		}
		c.Describe(event, d)
	}
	for _, event := range serverEvents {
		if doc := conversation.Describe(event).Does; doc != "" {
			c.Describe(event, contract.Details{Doc: doc})
		}
	}
	return c
}

const eventsHead = `# Events

<!-- Made by "parley types --lang md". -->

These are all events between the server and its clients, made from the types of the Go package
[` + "`conversation`" + `](../conversation). [protocol.md](protocol.md) says how they work together.
[` + "`protocol.d.ts`" + `](../js/protocol.d.ts) has the same for TypeScript, also as typed events for
` + "`socket.io-client`" + `: its callbacks for answers are not optional.

An event has one argument, an object. The server ignores members that are not listed here, and refuses an
event in which a member without ` + "`?`" + ` is absent, empty or 0. Its answer, the acknowledgement, is an object
too, or ` + "`{error: {code, message, data?}}`" + ` if it refuses the event.

A client joins a room before it uses ` + "`sendMessage`, `history` and `typing`" + ` there. For the other events it need not,
if it has an identity.

A server in open mode believes who clients say they are, and rights do not matter there. Otherwise a
client needs an identity, and the rights that stand in the column "who":

%s
Operators include admins and programs. Every event may be refused with
%s. The column "codes" has the others.

`

// EventsReference returns the documentation of all events as markdown.
func EventsReference() string {
	var b strings.Builder
	var every []string
	for _, code := range conversation.Refused {
		every = append(every, "`"+string(code)+"`")
	}
	last := len(every) - 1
	fmt.Fprintf(&b, eventsHead, conversation.RightsTable(), strings.Join(every[:last], ", ")+" or "+every[last])
	if err := Contract().Markdown(&b); err != nil {
		panic(err) // a test writes it
	}
	return b.String()
}

// printTypes is the command types.
func printTypes(_ context.Context, c *call, args []string) int {
	stdout, stderr := c.stdout, c.stderr
	flags := flag.NewFlagSet("types", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	lang := flags.String("lang", "ts", "")
	err := flags.Parse(args)
	if wantsHelp(err) {
		fmt.Fprint(stdout, typesUsage)
		return exitOK
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	switch *lang {
	case "ts":
		err = Contract().TypeScript(stdout)
	case "md":
		_, err = io.WriteString(stdout, EventsReference())
	case "schema":
		err = Contract().Schema(stdout)
	default:
		return fail(stderr, exitUsage, errors.New("--lang must be ts, md or schema"))
	}
	if err != nil {
		return fail(stderr, exitFailed, err)
	}
	return exitOK
}
