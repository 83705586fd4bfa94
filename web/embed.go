// Package web holds the chat page that the parley binary serves: plain HTML,
// CSS and ES modules, as they are in this folder.
//
// The page may lie below any path, since it names everything relative to its own URL, which is "/"
// or ends with a slash. It expects beside itself:
//   - its other files, and those of package js;
//   - Socket.IO at the path of the element <meta name="parley-path">, which is "socket.io/"
//     until a server that has it elsewhere replaces that.
//
// The room stands in the fragment of the URL, "/#support-42", percent-encoded;
// without one it is "lobby". The query "?transport=polling" (or a list, such as
// "webtransport,polling,websocket") replaces the client's choice of transports.
package web

import (
	"embed"
	"io/fs"
)

// ContentSecurityPolicy is the header value that the page is written for: no
// inline script or style, no markup made from strings, nothing from elsewhere.
// 'self' in connect-src covers the WebSocket of the same origin.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

//go:embed index.html chat.css icon.svg chat.js log.js timeline.js
var files embed.FS

// Files is the page's files. It is read-only and may be used concurrently.
var Files fs.FS = files
