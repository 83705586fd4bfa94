// Package historytest is what every history store has to pass: [Run] checks a
// [history.Store] by itself, [RunJoin] several nodes over one store that are connected
// by a bus which loses, repeats, delays and reorders, and [Benchmark] measures it.
package historytest
