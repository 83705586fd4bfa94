// Package web holds the chat page that the parley binary serves: plain HTML, CSS and ES modules,
// exactly as they are in this folder.
//
// You can serve the page below any path. Its own URL must be "/" or end with a slash, because it names
// everything relative to that URL. It expects next to itself:
//   - its other files, and those of package js;
//   - Socket.IO at the path in the element <meta name="parley-path">. The default is "socket.io/".
//     If your server has Socket.IO at another path, replace the element's content;
//   - if your server wants to know who people are, the endpoints below "api/" that the parley binary has.
//     Then replace the content of <meta name="parley-access">, which is "open", by "closed".
//
// The fragment of the URL is the percent-encoded room, as in "/#support-42". Without one the room is
// "lobby", or in a closed server the visitor's conversation; "/#sign-in" is the form for operators. The query "?transport=polling" (or a list, such as "webtransport,polling,websocket")
// replaces the client's choice of transports.
package web

import (
	"embed"
	"io/fs"
)

// ContentSecurityPolicy is the value of the header that the page is written for. It forbids inline
// scripts and styles, markup made from strings, and everything from other origins.
// 'self' in connect-src includes WebSockets to the same origin.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

//go:embed index.html chat.css desk.css icon.svg access.js chat.js desk.js front.js log.js text.js
var files embed.FS

// Files contains the page's files. It is read-only and safe for concurrent use.
var Files fs.FS = files
