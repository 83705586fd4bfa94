// Package acmetest has the tests of package certs that need an ACME authority. They use
// pebble, the test server of Let's Encrypt, within their own process.
//
// It is a module of its own. Otherwise pebble, its name server and all that they require would
// set the least versions of these modules for everybody who uses Parley as a library.
package acmetest
