// Package historytest is the test suite for history stores. [Run] checks a [history.Store] by
// itself, and [RunRecords] the records that it keeps. [RunJoin] checks several nodes over one store,
// connected by a bus that loses, repeats, delays and reorders messages. [Benchmark] measures a store.
package historytest
