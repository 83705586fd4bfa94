// Package sse serves Server-Sent Events: feeds that a browser's EventSource, or curl -N, reads
// over plain HTTP, one way.
//
//	feed := sse.New(func(s *sse.Stream, r *http.Request, lastID string) (func(), error) {
//		… // s.Send what came after lastID, and have what comes later sent
//	}, nil)
//	http.Handle("/feed", feed)
//
// A Handler does for each client what such a feed needs in practice: comments that keep the
// connection alive, a bounded queue and a deadline for readers that do not read, an end after
// a while, so that clients spread over the servers again, and a time to come back that is not
// everybody's. EventSource comes back by itself with the id of the last event it has; what it
// missed is the source's to send.
package sse
