// Package parleytest tests the handlers of a Socket.IO server: with real clients and a real server, but in
// memory, without ports, and if you want, without waiting.
//
//	func TestChat(t *testing.T) {
//		s := parleytest.NewServer(t, newChat()) // a *parley.Server, or your mux with one in it
//		ann := s.MustDial(parleytest.Auth(map[string]string{"token": "secret-a"}))
//		bob := s.MustDial(parleytest.Auth(map[string]string{"token": "secret-b"}))
//
//		there := parleytest.MustCall(ann, chat.Enter, "lobby") // waits for the answer
//		parleytest.MustCall(bob, chat.Enter, "lobby")
//		parleytest.Send(bob, chat.Say, chat.Message{Room: "lobby", Text: "Hello!"})
//		m := parleytest.Next(ann, chat.Said) // waits for the event
//		bob.None("said")                     // nothing came
//		…
//	}
//
// Clients keep what the server sends, in order, until you ask for it. So you need no channels, no handlers and
// no sleeps, and an event that comes early is not missed. If something does not come, the test fails, and the
// message says what came instead. The end of the test closes everything.
//
// [Send], [Call], [MustCall], [Next] and [Handle] take the descriptors of package event that the server has,
// too. The methods of the same names take names of events and any arguments, binary data included.
//
// # What can go wrong
//
// Test what your server does when something fails: [Client.Drop] cuts a connection, and [Client.Reconnect]
// says whether the server has recovered it. [Client.Freeze] makes it fall silent. [Client.Disconnected]
// waits until the client has lost the connection, and says why. [Server.Dial] returns the refusal of a
// middleware.
//
// # Simulated time
//
// In a bubble of testing/synctest, time passes when nobody has anything else to do. So a test of what happens
// after ten minutes takes milliseconds, and never depends on how busy the machine is:
//
//	func TestIdleUsersLeave(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			s := parleytest.NewServer(t, newChat())
//			ann := s.MustDial()
//			time.Sleep(29 * time.Minute) // the clients answer heartbeats meanwhile
//			ann.None("goodbye")
//			time.Sleep(time.Minute)
//			ann.Next("goodbye")
//		})
//	}
//
// Make the server in the bubble, too. When the function ends, no goroutine of the bubble may run. NewServer
// closes a *parley.Server. If it gets something else, such as a mux, close the server in it yourself:
//
//	defer srv.Close()
//
// The guide docs/guide/testing.md goes through all of this, step by step.
package parleytest
