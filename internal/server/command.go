package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/muster-vm/muster/internal/resource"
)

// Commands returns the commands about a server on this machine.
func Commands() []*cobra.Command {
	return []*cobra.Command{serveCommand(), downCommand(), configCommand(), backupCommand(), restoreCommand(), doctorCommand()}
}

// flags are what commands take beside the config file. Those that were given
// override it.
type flags struct{ state, listen, driver, config string }

func (f *flags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.state, "state", "", "directory of everything the server keeps")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file (YAML or JSON); muster config prints one")
}

func (f *flags) registerServe(cmd *cobra.Command) {
	f.register(cmd)
	cmd.Flags().StringVar(&f.listen, "listen", "", "host:port of the API (default 127.0.0.1:8443)")
	cmd.Flags().StringVar(&f.driver, "driver", "", "qemu for real virtual machines, sim for simulated ones (default qemu)")
}

// load returns the configuration in effect.
func (f *flags) load() (c Config, err error) {
	c = Default()
	if f.config != "" {
		if c, err = Load(f.config, c); err != nil {
			return c, err
		}
	}
	for given, member := range map[*string]*string{&f.state: &c.State, &f.listen: &c.Listen, &f.driver: &c.Driver} {
		if *given != "" {
			*member = *given
		}
	}
	return c, nil
}

func serveCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "serve --state DIR",
		Short: "Run the server; SIGTERM ends it and leaves virtual machines running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			c.version = cmd.Root().Version
			saveMemory()
			return Serve(cmd.Context(), c, cmd.OutOrStdout(), c.logger(cmd.ErrOrStderr()))
		},
	}
	f.registerServe(cmd)
	return cmd
}

// saveMemory has garbage collected twice as often as usual, unless $GOGC says
// how often: nearly all of the server's memory is records, which stay, and it
// makes little garbage.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

func downCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "down --state DIR",
		Short: "End a server, its virtual machines and their network; disks and records stay",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			return Down(cmd.Context(), c, cmd.OutOrStdout(), c.logger(cmd.ErrOrStderr()))
		},
	}
	f.register(cmd)
	_ = cmd.MarkFlagRequired("state")
	return cmd
}

func configCommand() *cobra.Command {
	cmd := printConfigCommand("config") // as it was before it had a command of its own
	cmd.AddCommand(printConfigCommand("show"))
	return cmd
}

func printConfigCommand(use string) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   use,
		Short: "Print the configuration in effect, as a file that --config takes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			raw, err := yaml.Marshal(c)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
	f.registerServe(cmd)
	return cmd
}

// logger writes lines of key=value; contexts carry nothing but ids.
func (c Config) logger(to io.Writer) *slog.Logger {
	level, err := c.level()
	if err != nil {
		level = slog.LevelInfo // Validate says so
	}
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: level}))
}

// Explain words an error for the person at the terminal: the sentences of its
// parts, each with the place at fault.
func Explain(err error) string {
	e, ok := errors.AsType[*resource.Error](err)
	if !ok {
		return err.Error()
	}
	if len(e.Details) > 0 {
		var all []string
		for _, d := range e.Details {
			all = append(all, "  "+Explain(d))
		}
		return e.Msg + "\n" + strings.Join(all, "\n")
	}
	text := e.Msg
	if e.Target != "" {
		text = fmt.Sprintf("%s: %s", e.Target, text)
	}
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text
}
