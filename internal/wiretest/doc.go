// Package wiretest has what tests of the wire need: a listener without a network, for
// servers in a synctest bubble, and a process without file descriptors.
package wiretest
