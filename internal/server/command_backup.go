package server

import "github.com/spf13/cobra"

func backupCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "backup FILE --state DIR",
		Short: "Write records, keys and addresses to one file, while the server runs or not; it holds secrets",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			c.version = cmd.Root().Version
			return Backup(cmd.Context(), c, args[0], cmd.OutOrStdout(), c.logger(cmd.ErrOrStderr()))
		},
	}
	f.register(cmd)
	_ = cmd.MarkFlagRequired("state")
	return cmd
}

func restoreCommand() *cobra.Command {
	var f flags
	var o RestoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE --state DIR",
		Short: "Put a backup into a state directory whose server is stopped",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			o.File = args[0]
			return Restore(cmd.Context(), c, o, cmd.OutOrStdout(), c.logger(cmd.ErrOrStderr()))
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&o.Force, "force", false, "replace the records and keys that are there; they are kept beside the new ones")
	cmd.Flags().BoolVar(&o.DiscardVMs, "discard-vms", false, "let the next start remove virtual machines, with their disks, that the backup does not know")
	_ = cmd.MarkFlagRequired("state")
	return cmd
}
