// Command muster runs virtual machine scale sets on one's own machines: the
// server, and commands that talk to it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/muster-vm/muster/internal/cli"
	"github.com/muster-vm/muster/internal/server"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{Use: "muster", Short: "Virtual machine scale sets on your own machines", Version: version,
		SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(server.Commands()...)
	root.AddCommand(cli.DemoCommand())
	root.AddCommand(cli.Commands()...)
	root.SetArgs(cli.Args(os.Args[1:]))
	if err := root.ExecuteContext(ctx); err != nil {
		stop()
		os.Exit(cli.Fail(os.Stderr, err, server.Explain)) //nolint:gocritic // stop was called
	}
}
