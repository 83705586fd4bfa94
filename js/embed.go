// Package js holds the JavaScript clients, for programs that serve them to browsers. The same folder is
// the npm package @parley/client. parley.js is the Socket.IO client. room.js uses it to join a room of the
// parley server. timeline.js has a room's messages in order, outbox.js those that are not sent yet,
// and live.js all of these together, with react.js for React. lobby.js is the list of conversations, for
// operators. transports.js has more transports. feed.js reads feeds.
// protocol.d.ts, generated from package conversation, has the types of all events.
package js

import (
	"embed"
	"encoding/json"
	"io/fs"
	"sync"
)

//go:embed *.js *.d.ts
var files embed.FS

//go:embed package.json
var manifest []byte

// Files contains the clients and their TypeScript declarations. It is read-only and safe for
// concurrent use.
var Files fs.FS = files

// Version returns the version of the npm package, such as "1.2.3", which is that of all of Parley. It is safe
// for concurrent use.
var Version = sync.OnceValue(func() string {
	var m struct{ Version string }
	if err := json.Unmarshal(manifest, &m); err != nil {
		panic("js: package.json: " + err.Error())
	}
	return m.Version
})
