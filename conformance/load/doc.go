// Package load has only tests. They drive a server in a process of its own with thousands of
// connections, and check what it promises about cost. They need Linux.
//
//	go test ./conformance/load              small sizes: counts, bytes and states
//	go test ./conformance/load -full -v     the sizes of docs/performance.md, and the bars
//
// A bar is for a ratio: a figure and its reference come from the same run, in processor time of
// the server where that is possible. On a busy machine a ratio changes less than its parts do,
// but it does change. So bars hold with -full only, which "make perf" runs.
package load
