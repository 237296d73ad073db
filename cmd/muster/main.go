// Command muster runs virtual machine scale sets on one's own machines: the
// server, and commands that talk to it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/muster-vm/muster/internal/program"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := program.Run(ctx, version, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}
