// Package load has only tests: a server in a process of its own is driven with thousands of
// connections, and what it promises about cost is checked. What is compared was measured in
// the same run, in processor time of the server where that is possible, so that the tests
// say the same on a machine that is busy with other things. They need Linux.
//
//	go test ./conformance/load              bounded sizes, half a minute
//	go test ./conformance/load -full -v     the sizes of docs/performance.md, with figures
package load
