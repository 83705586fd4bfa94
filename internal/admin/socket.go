package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// SocketName is the name of the socket in the data directory.
const SocketName = "control.sock"

// Listen opens the socket at path, to which only this process's user may connect. It replaces a socket
// that a killed process left behind, so only the process that has locked the data directory may call it.
// Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("listen unix %s: there is a file that is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// Before it has a name, because from then on others could connect.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return ownerOnly(c) }}
	l, err := config.Listen(context.Background(), "unix", path)
	switch {
	case errors.Is(err, syscall.EINVAL):
		return nil, fmt.Errorf("%w; the path has %d bytes, which may be too many for a socket", err, len(path))
	case err != nil:
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil { // for systems on which ownerOnly does nothing
		l.Close()
		return nil, err
	}
	return l, nil
}
