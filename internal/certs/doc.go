// Package certs has the certificates of a TLS server: from files, from an ACME authority, or
// made by itself for development. Each is a Source, which keeps itself current while it runs.
package certs
