package admin

import "syscall"

// ownerOnly gives a socket that has no name yet the mode that its file will have.
func ownerOnly(c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); e != nil {
		return e
	}
	return err
}
