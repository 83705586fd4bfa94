package app

// NewServer is Open with a store of the test's.
var NewServer = newServer
