//go:build unix

package postgrestest

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const immediateShutdown = syscall.SIGQUIT

// owner returns who runs the servers, and whether that is somebody else: PostgreSQL refuses to run as
// root.
func owner() (uid, gid uint32, other bool, err error) {
	if os.Getuid() != 0 {
		return 0, 0, false, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return uint32(uid), uint32(gid), true, errors.Join(err1, err2)
	}
	return 0, 0, false, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// asOwner makes a process one of the owner, which ends if the test's process dies.
func asOwner() (*syscall.SysProcAttr, error) {
	uid, gid, other, err := owner()
	attr := parentDeath()
	if other {
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return attr, err
}

func giveToOwner(path string) error {
	uid, gid, other, err := owner()
	if err == nil && other {
		err = os.Chown(path, int(uid), int(gid))
	}
	return err
}
