// Package admin is what an administrator does on the machine of the server: operators, keys, tokens,
// revocations, bans, exports and erasures. Whoever can open the data directory is an administrator.
//
// A [Handler] answers calls over HTTP, in the shapes of the API for programs, with problems (RFC 9457).
// A running server serves it on a Unix socket in its data directory; see [Listen]. A command that finds
// no server serves it to itself, over the store that it has opened; see [Local]. So both do the same.
//
//	GET POST /api/operators · PATCH DELETE /api/operators/{operator}
//	GET POST /api/keys · DELETE /api/keys/{key} · POST /api/keys/rotate
//	GET POST /api/bans · DELETE /api/bans/{subject}
//	POST /api/revocations
//	POST /api/tokens · POST /api/tokens/check
//	GET /api/export · GET /api/users/{user}/export · GET /api/rooms/{room}/export (?since=TIME)
//	DELETE /api/users/{user} · DELETE /api/rooms/{room} (?dryRun=true)
package admin
