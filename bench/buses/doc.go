// Package buses measures what a message costs on each bus that connects servers, and how far each is from a bare
// publish and receive. "make perf" runs its tests.
package buses
