// Package api serves what programs and pages ask over plain HTTP: sign-in and sessions of operators,
// the client's own data, visitors' tokens and tickets.
//
//	POST   /api/session        sign in: a cookie
//	DELETE /api/session        sign out
//	GET    /api/sessions       the operator's own sessions
//	DELETE /api/sessions/{id}  end one
//	GET    /api/me             who the client is
//	PATCH  /api/me             change name and address
//	POST   /api/me/password    change the password: a new cookie
//	POST   /api/visitors       a token for somebody who has none
//	POST   /api/tickets        a key for one request that can have neither header nor cookie
//	GET    /openapi.json       this, as OpenAPI 3.1
//
// Refusals are problems (RFC 9457) with the codes of package conversation. No answer repeats what the
// client sent. See docs/access.md.
package api
