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
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ending = append(ending, syscall.SIGHUP)
	}
	// When the program that reads the log ends, writing fails, and the server goes on.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(app.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
