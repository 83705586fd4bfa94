package postgrestest

import "syscall"

// parentDeath ends the server if the test's process dies.
func parentDeath() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: immediateShutdown} }
