// Package js holds parley.js, the JavaScript client, for programs that serve it
// to browsers.
package js

import (
	"embed"
	"io/fs"
)

//go:embed parley.js parley.d.ts
var files embed.FS

// Files is parley.js and its TypeScript declarations, parley.d.ts. It is
// read-only and may be used concurrently.
var Files fs.FS = files
