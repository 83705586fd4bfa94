package reactor

// Linux has had these calls on 386 since 4.3. Package syscall does not define them.
const (
	sysRecvfrom = 371
	sysSendto   = 369
)
