// Package load contains only tests. They start a server in its own process, open thousands of
// connections, and check the server's promises about cost. They need Linux.
//
//	go test ./conformance/load              small sizes: counts, bytes and states
//	go test ./conformance/load -full -v     the sizes of docs/performance.md, and the bars
//
// A bar is a limit for a ratio. The figure and its reference come from the same run. If possible, both are
// processor time of the server. On a busy machine a ratio changes less than its parts, but it does
// change. So the tests check bars only with -full, which "make perf" uses.
package load
