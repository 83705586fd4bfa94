// Package js holds the JavaScript clients, for programs that serve them to browsers. parley.js is the
// Socket.IO client. room.js uses it to join a room of the parley server. lobby.js is the list of
// conversations, for operators. transports.js has more
// transports for it. feed.js reads feeds.
// protocol.d.ts, generated from package conversation, has the types of all events.
package js

import (
	"embed"
	"io/fs"
)

//go:embed parley.js parley.d.ts room.js room.d.ts lobby.js lobby.d.ts protocol.d.ts feed.js feed.d.ts transports.js transports.d.ts
var files embed.FS

// Files contains the clients and their TypeScript declarations. It is read-only and safe for
// concurrent use.
var Files fs.FS = files
