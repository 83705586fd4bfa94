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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(app.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
