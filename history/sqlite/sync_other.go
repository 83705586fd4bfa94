//go:build !unix

package sqlite

// syncDir does nothing, because other systems cannot open a directory to synchronize it.
func syncDir(string) error { return nil }
