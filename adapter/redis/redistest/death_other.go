//go:build !linux

package redistest

import "syscall"

func parentDeath() *syscall.SysProcAttr { return nil }
