package main

import "github.com/parley-go/parley/client"

// plug adds the dialer for WebTransport.
func plug(*client.Options) {}
