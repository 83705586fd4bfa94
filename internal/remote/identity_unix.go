//go:build unix

package remote

import (
	"fmt"
	"os"
	"syscall"
)

// identity returns what identifies a regular file on this machine, and its size. It is empty for what is
// none.
func identity(out any) (id string, size int64) {
	f, ok := out.(*os.File)
	if !ok {
		return "", 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", 0
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", 0
	}
	return fmt.Sprintf("%d:%d", s.Dev, s.Ino), info.Size()
}
