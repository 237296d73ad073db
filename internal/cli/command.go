package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-vm/muster/internal/cli/output"
)

// command is one row of the table of commands. Everything that commands have in
// common is done once, around run.
type command struct {
	path    string // "vmss list-instances"
	short   string
	takes   string // names of options, in the table of options; "!" after one that is required
	shape   output.Shape
	args    string                                          // what it takes without the name of an option, for its usage
	words   func(c *call, words []string) error             // takes those; nil takes none
	table   string                                          // query that az makes this command's table with
	rows    func(result any) (rows []any, columns []string) // what az makes it with where no query can
	confirm bool                                            // ask before it runs
	local   bool                                            // works on contexts alone and needs none
	goal    string                                          // state that instances are to reach; running if empty
	own     map[string]func(*pflag.FlagSet)                 // options that no other command takes
	aliases map[string]string                               // other names of options
	text    func(result any) string                         // words the answer for who asks for no format
	// run returns what to print, nil for nothing, or an *operation to wait for.
	run func(ctx context.Context, c *call) (any, error)
}

// call is one run of a command.
type call struct {
	options
	out, err    io.Writer
	in          io.Reader
	accounts    *accounts
	conn        *Connection
	compute     *armcompute.ClientFactory
	resources   *armresources.ClientFactory
	flags       *pflag.FlagSet
	explainable bool     // a scale set is acted on, so that Muster.Fleet can tell more
	goal        string   // state that its instances are to reach
	failures    []string // a line for each instance that failed to
}

// groups words the commands that have commands below them.
var groups = map[string]string{
	"account":         "Manage contexts: which server and subscription commands talk to",
	"disk":            "Manage managed disks",
	"group":           "Manage resource groups",
	"image":           "Manage images of your own",
	"monitor":         "See what is measured",
	"monitor metrics": "See metrics of scale sets and instances",
	"resource":        "List resources of all types",
	"snapshot":        "Manage snapshots of disks",
	"vm":              "See what a location offers: images, sizes, quotas",
	"vm image":        "See the images that instances can be made from",
	"vmss":            "Manage scale sets and their instances",
	"vmss disk":       "Attach and detach managed disks",
	"vmss nic":        "See network interfaces of instances",
}

// Commands returns the commands that talk to a server with the grammar of az:
// those of this package, and more.
func Commands(more ...Command) []*cobra.Command {
	root := &cobra.Command{}
	byPath := map[string]*cobra.Command{"": root}
	var others []command
	for _, cmd := range more {
		if cmd.Run == nil {
			parentOf(byPath, cmd.Path).Short = cmd.Short
			continue
		}
		others = append(others, cmd.row())
	}
	for _, some := range [][]command{loginCommands(), groupCommands(), setCommands(), instanceCommands(), streamCommands(), catalogCommands(), resourceCommands(), metricCommands(), diskCommands(), imageCommands(), others} {
		for _, row := range some {
			parent, _ := cutLast(row.path)
			parentOf(byPath, parent).AddCommand(row.cobra())
		}
	}
	all := root.Commands()
	root.RemoveCommand(all...)
	return all
}

func cutLast(path string) (parent, name string) {
	i := strings.LastIndex(path, " ")
	return path[:max(i, 0)], path[i+1:]
}

// parentOf returns the command group of a path, and makes it if need be.
func parentOf(byPath map[string]*cobra.Command, path string) *cobra.Command {
	if cmd, ok := byPath[path]; ok {
		return cmd
	}
	up, name := cutLast(path)
	cmd := &cobra.Command{Use: name, Short: groups[path], SuggestionsMinimumDistance: 2, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("'%s' is misspelled or not recognized by the system.", args[0])
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			text += "\nDid you mean '" + strings.Join(like, "' or '") + "' ?"
		}
		return usage("%s\nNext: muster %s --help", text, path)
	}}
	cmd.SetFlagErrorFunc(flagError)
	parentOf(byPath, up).AddCommand(cmd)
	byPath[path] = cmd
	return cmd
}

// flagError words as az does what is wrong with an option.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		dashes := "--"
		if e.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		text = "unrecognized arguments: " + dashes + e.GetSpecifiedName()
	} else if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		text = fmt.Sprintf("argument --%s: invalid %s value: '%s'", e.GetFlag().Name, strings.TrimSuffix(e.GetFlag().Value.Type(), "64"), e.GetValue())
	} else if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		text = fmt.Sprintf("argument --%s: expected one argument", e.GetFlag().Name)
	}
	return usage("%s\nNext: %s --help", text, cmd.CommandPath())
}

// cobra makes the command of a row.
func (row command) cobra() *cobra.Command {
	c := &call{}
	_, name := cutLast(row.path)
	cmd := &cobra.Command{Use: strings.TrimSpace(name + " " + row.args), Short: row.short}
	cmd.SetFlagErrorFunc(flagError)
	required := c.register(cmd, row)
	c.completeNames(cmd, row)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.out, c.err, c.in = cmd.OutOrStdout(), cmd.ErrOrStderr(), cmd.InOrStdin()
		if row.words != nil {
			if err := row.words(c, args); err != nil {
				return err
			}
		} else if len(args) > 0 {
			return usage("unrecognized arguments: %s\nNext: %s --help", strings.Join(args, " "), cmd.CommandPath())
		}
		if missing := lacks(cmd, required); len(missing) > 0 {
			return usage("the following arguments are required: %s\nNext: %s --help", strings.Join(missing, ", "), cmd.CommandPath())
		}
		return c.explain(row.do(cmd.Context(), c))
	}
	return cmd
}

func lacks(cmd *cobra.Command, required []string) (missing []string) {
	for _, name := range required {
		if f := cmd.Flags().Lookup(name); !f.Changed {
			word := "--" + name
			if f.Shorthand != "" {
				word += "/-" + f.Shorthand
			}
			missing = append(missing, word)
		}
	}
	slices.Sort(missing)
	return missing
}

// do runs the command from its options to its output.
func (row command) do(ctx context.Context, c *call) (err error) {
	p := output.Printer{Format: strings.ToLower(c.Output), Query: c.Query, Table: row.table, Rows: row.rows}
	if p.Format == "text" && row.text != nil {
		p.Format, p.Text = "json", row.text
	}
	if err := p.Check(); err != nil {
		return err
	}
	if c.accounts, err = openAccounts(); err != nil {
		return err
	}
	if !row.local {
		if err := c.connect(); err != nil {
			return err
		}
	}
	if row.confirm && !c.Yes {
		if err := c.ask(); err != nil {
			return err
		}
	}
	c.explainable = strings.HasPrefix(row.path, "vmss ") && c.Group != "" && row.path != "vmss explain"
	if c.goal = row.goal; c.goal == "" {
		c.goal = "running"
	}
	result, err := row.run(ctx, c)
	if op, ok := result.(*operation); ok && err == nil {
		result, err = c.finish(ctx, op)
	}
	answer, ok := result.(Answer)
	if !ok {
		answer.Value = result
	}
	if err != nil || answer.Value == nil {
		return err
	}
	if result, err = output.Reshape(answer.Value, row.shape); err != nil {
		return err
	}
	if err := p.Print(c.out, result); err != nil || answer.Code == 0 {
		return err
	}
	return &CommandError{Code: answer.Code}
}

// connect chooses the context and makes the SDK's clients.
func (c *call) connect() error {
	a, err := c.accounts.find(c.Subscription)
	if err != nil {
		return err
	}
	if c.conn, err = a.connect(); err != nil {
		return err
	}
	if c.compute, err = armcompute.NewClientFactory(a.ID, c.conn.credential, c.conn.Options()); err != nil {
		return err
	}
	c.resources, err = armresources.NewClientFactory(a.ID, c.conn.credential, c.conn.Options())
	return err
}

// ask has the person at the terminal confirm.
func (c *call) ask() error {
	if !output.Terminal(c.in) {
		return problem("Unable to prompt for confirmation as no tty available. Use --yes.")
	}
	fmt.Fprint(c.err, "Are you sure you want to perform this operation? (y/n): ")
	var answer string
	if _, err := fmt.Fscanln(c.in, &answer); err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
		return problem("Operation cancelled.")
	}
	return nil
}

// say tells the person at the terminal something that is no result.
func (c *call) say(format string, args ...any) {
	if !c.OnlyErrors {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// collect reads all pages of a list.
func collect[P, T any](ctx context.Context, pages *runtime.Pager[P], items func(P) []*T) ([]*T, error) {
	all := []*T{}
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, items(page)...)
	}
	return all, nil
}
