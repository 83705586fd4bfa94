// Package acmetest holds the tests of package certs that need an ACME authority. They run pebble,
// Let's Encrypt's test server, in their own process.
//
// It is a module of its own. Otherwise pebble, its name server and their dependencies would set
// minimum versions of modules for everybody who imports Parley.
package acmetest
