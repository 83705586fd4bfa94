//go:build !unix

package sqlite

// syncDir does nothing: elsewhere a directory cannot be opened to be synchronised.
func syncDir(string) error { return nil }
