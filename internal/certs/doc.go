// Package certs provides the certificate of a TLS server: from files, from an ACME authority, or
// self-signed for development. Each is a Source, which keeps its certificate current while Run runs.
package certs
