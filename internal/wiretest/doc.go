// Package wiretest helps tests of the wire. It has a listener without a network, for servers in a
// synctest bubble, and it can use up the process's file descriptors.
package wiretest
