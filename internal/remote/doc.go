// Package remote is what the commands of the binary do on a server that they reach over the network, with
// package client: it follows rooms without a gap across runs of the program, sends each message once, and
// keeps contexts, the names of servers.
package remote
