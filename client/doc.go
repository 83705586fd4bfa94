// Package client is a Socket.IO client for Go programs. It connects to any server that speaks Socket.IO 2
// to 4, over WebSocket, HTTP long polling, Server-Sent Events (servers of Parley) or WebTransport. It
// reconnects by itself for as long as the program runs.
//
//	c, err := client.Dial(ctx, "https://example.com", &client.Options{
//		Auth: func(ctx context.Context) (any, error) { return map[string]string{"token": token()}, nil },
//	})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	client.On(c, chat.NewMessage, func(ctx context.Context, m chat.Message) error { … })
//	answer, err := chat.Join.Call(ctx, c, chat.JoinRequest{Room: "lobby"})
//
// The descriptors of package event work on both sides. A handler that must not miss the first event is
// registered before the client connects: see [New] and [Client.Connect].
//
// # When the connection is lost
//
// The client connects again, after a pause that grows from 1 s to 5 s, spread at random so that the clients
// of a lost server do not all come back at once. Each time it asks Options.Auth anew. [Client.State] says at
// any time whether the client is connected, and if not, why, and when it tries again.
//
// What you Emit meanwhile waits, within Options.MaxBuffer, and goes out after the handlers of OnConnect have
// run. Whatever is dropped is an error of Emit, or is reported to Options.OnDrop. An EmitWithAck whose
// answer was under way returns ErrDisconnected: nobody knows whether the server has handled the event. With
// [Client.Retry] the client sends it again, so the server must recognize what it has seen.
//
// If the server recovers the connection state, the client gets the events that it has missed, and
// [Connection.Recovered] is true.
package client
