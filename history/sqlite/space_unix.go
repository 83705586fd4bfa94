//go:build linux || darwin || freebsd

package sqlite

import "syscall"

// diskSpace returns the space of the file system that holds a directory. What only the
// superuser may use does not count as free.
func diskSpace(dir string) (space, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return space{}, err
	}
	block := int64(fs.Bsize)
	return space{free: int64(fs.Bavail) * block, total: int64(fs.Blocks) * block}, nil
}
