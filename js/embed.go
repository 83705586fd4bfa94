// Package js holds the JavaScript clients, parley.js and feed.js, and transports.js with more
// transports, for programs that serve them to browsers.
package js

import (
	"embed"
	"io/fs"
)

//go:embed parley.js parley.d.ts feed.js feed.d.ts transports.js transports.d.ts
var files embed.FS

// Files is the clients and their TypeScript declarations. It is read-only and may be used
// concurrently.
var Files fs.FS = files
