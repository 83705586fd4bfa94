// Command parley is a Socket.IO server that keeps the messages of rooms.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/parley-go/parley/internal/app"
)

func main() {
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		ending = append(ending, syscall.SIGHUP)
	}
	// If the program that reads the log ends, writing to it fails, but the server continues.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(app.Main(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
