package reactor

// Linux has these calls for it since 4.3; package syscall does not know them.
const (
	sysRecvfrom = 371
	sysSendto   = 369
)
