// Package program is muster as a whole: the server's commands and those that
// talk to it, under one name. It adds nothing of its own.
package program

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/muster-vm/muster/internal/cli"
	"github.com/muster-vm/muster/internal/cli/demo"
	"github.com/muster-vm/muster/internal/cli/network"
	"github.com/muster-vm/muster/internal/server"
)

// Root returns all commands.
func Root(version string) *cobra.Command {
	root := &cobra.Command{Use: "muster", Short: "Virtual machine scale sets on your own machines", Version: version,
		SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(server.Commands()...)
	root.AddCommand(demo.Command())
	root.AddCommand(cli.Commands(network.Commands()...)...)
	return root
}

// Run runs the command of a command line and returns the exit code. What went
// wrong is written to stderr.
func Run(ctx context.Context, version string, args []string, stderr io.Writer) int {
	root := Root(version)
	root.SetArgs(cli.Args(args))
	if err := root.ExecuteContext(ctx); err != nil {
		return cli.Fail(stderr, err, server.Explain)
	}
	return 0
}
