package sqlite

import "golang.org/x/sys/windows"

// diskSpace returns the space of the volume that holds a directory. Free is what this user may use.
func diskSpace(dir string) (s space, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return s, err
	}
	var free, total uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, nil); err != nil {
		return s, err
	}
	return space{int64(free), int64(total)}, nil
}
