//go:build linux && !386

package reactor

import "syscall"

const (
	sysRecvfrom = syscall.SYS_RECVFROM
	sysSendto   = syscall.SYS_SENDTO
)
