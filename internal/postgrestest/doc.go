// Package postgrestest runs PostgreSQL in tests.
//
// [Database] gives a test an empty database on a server that all tests of the process share. [Start]
// starts a server of a test's own, for tests that end, pause or restart it. A package that uses
// one of them calls [Main] in its TestMain.
package postgrestest
