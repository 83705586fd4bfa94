//go:build unix && !linux

package postgrestest

import "syscall"

func parentDeath() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
