// Package access decides who may use the server. It keeps operators and their sessions, the keys of
// programs, the keys that sign visitors' tokens, revocations and bans as [history.Records], and holds
// all of them in memory, so that no question needs the store. It knows neither Socket.IO nor HTTP.
//
//	kind of record   id                        what it is
//	operator         the operator's id         see Operator; with the hash of the password
//	session          SHA-256 of the cookie     see Session
//	key              visitors                  the keys of visitors' tokens
//	apikey           its name                  see APIKey; with the SHA-256 of the key
//	revocation       user:…, jti:…, *, …       see Revocation
//	ban              user:…, net:…             see Ban
//
// Whoever proves an identity, by whatever means, asks [Access.Check] afterwards. That is the one place
// where an identity is refused although its proof is good.
package access
