// Package sse serves Server-Sent Events: one-way feeds over plain HTTP that a browser's EventSource
// or curl -N can read.
//
//	feed := sse.New(func(s *sse.Stream, r *http.Request, lastID string) (func(), error) {
//		… // s.Send the events after lastID, and arrange that later ones are sent too
//	}, nil)
//	http.Handle("/feed", feed)
//
// A Handler does what a feed needs in practice for each client. It sends comments that keep the
// connection alive. It limits the queue and the time for clients that do not read. It ends streams
// after a while, so that clients spread over the servers again, and it tells each client a
// different time to wait before it comes back. EventSource comes back automatically with the id of
// the last event that it has. Your Open function sends what the client missed.
//
// If your events are stored, ask Stream.Behind before you send one. A client that is behind need not
// be disconnected: send the rest from the store when Stream.WhenDrained calls.
package sse
