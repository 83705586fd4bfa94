package jwtauth

import "net/http"

// NewForTest is New with a client that fetches the sets.
func NewForTest(o *Options, client *http.Client) (*Verifier, error) { return newVerifier(o, client) }
