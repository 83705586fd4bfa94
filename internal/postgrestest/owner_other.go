//go:build !unix

package postgrestest

import (
	"os"
	"syscall"
)

var immediateShutdown = os.Kill

func asOwner() (*syscall.SysProcAttr, error) { return nil, nil }

func giveToOwner(string) error { return nil }
