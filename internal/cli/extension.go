package cli

import (
	"context"
	"net/http"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/spf13/pflag"

	"github.com/muster-vm/muster/internal/cli/output"
)

// Command is a command of another package, with the grammar of those here. One
// without Run words the group of commands below its path.
type Command struct {
	Path, Short string
	// Takes names options: those of Options, and those that commands of this package
	// share. "!" after a name says that it is required.
	Takes   string
	Options map[string]func(*pflag.FlagSet)
	Aliases map[string]string // other names of options
	// Rows makes the table of an answer, which has the names of the wire and the
	// members of "properties" beside it.
	Rows func(result any) (rows []any, columns []string)
	// Text words the answer for who asks for no format; nil if JSON does.
	Text func(result any) string
	// Run returns what to print, nil for nothing, what Put and Delete return, or an
	// Answer.
	Run func(ctx context.Context, c *Call) (any, error)
}

// Call is one run of a Command. What its options say is in its members: Group,
// Name, Location.
type Call struct {
	*call
	Flags *pflag.FlagSet
}

// Answer is what to print, and an exit code that is a part of it.
type Answer struct {
	Value any
	Code  int
}

// row makes a row of the table of commands.
func (cmd Command) row() command {
	return command{path: cmd.Path, short: cmd.Short, takes: cmd.Takes, own: cmd.Options, aliases: cmd.Aliases, shape: output.Wired, rows: cmd.Rows, text: cmd.Text,
		run: func(ctx context.Context, c *call) (any, error) { return cmd.Run(ctx, &Call{c, c.flags}) }}
}

// SubscriptionID returns the id of the context's subscription.
func (c *Call) SubscriptionID() string { return c.conn.Subscription }

// Locate takes the resource group's location for want of one, as az does.
func (c *Call) Locate(ctx context.Context) error { return c.locateInGroup(ctx) }

// Tagged returns what --tags says, nil if it is absent.
func (c *Call) Tagged() map[string]*string {
	tags, _ := c.tagged()
	return tags
}

// Usage is a failure of whoever typed the command.
func Usage(format string, args ...any) error { return usage(format, args...) }

// NotFound reports whether an error says that what was asked for is not there.
func NotFound(err error) bool { return notFound(err) }

// Get reads a resource.
func (c *Call) Get(ctx context.Context, path, version string, into any) error {
	return c.conn.Get(ctx, c.at(path, version), into)
}

// List reads all pages of a list.
func (c *Call) List(ctx context.Context, path, version string) ([]any, error) {
	return c.conn.list(ctx, c.at(path, version))
}

// Post asks for an action and reads its answer.
func (c *Call) Post(ctx context.Context, path, version string, body, into any) error {
	_, res, err := c.send(ctx, http.MethodPost, c.at(path, version), body) //nolint:bodyclose // the SDK closes it
	if err != nil {
		return err
	}
	return runtime.UnmarshalAsJSON(res, into)
}

// Put writes a resource, waits until it is there unless --no-wait says not to, and
// prints what show makes of it.
func (c *Call) Put(ctx context.Context, path, version string, body any, show func(map[string]any) any) (any, error) {
	return c.change(ctx, http.MethodPut, c.at(path, version), body, show)
}

// Delete removes a resource, and waits likewise.
func (c *Call) Delete(ctx context.Context, path, version string) (any, error) {
	return c.change(ctx, http.MethodDelete, c.at(path, version), nil, nil)
}

// Finish waits for what Put or Delete has begun and prints nothing of it, for
// commands that have more to do.
func (c *Call) Finish(ctx context.Context, begun any) error {
	op, _ := begun.(*operation)
	_, err := c.await(ctx, op)
	return err
}

func (c *Call) at(path, version string) string {
	return c.conn.Endpoint + path + "?" + url.Values{"api-version": {version}}.Encode()
}

func (c *Call) change(ctx context.Context, method, url string, body any, show func(map[string]any) any) (any, error) {
	client, res, err := c.send(ctx, method, url, body) //nolint:bodyclose // the SDK closes it
	if err != nil {
		return nil, err
	}
	p, err := runtime.NewPoller[map[string]any](res, client.Pipeline(), nil)
	return begin(p, err, show)
}

// send sends a request; the SDK has read the answer's body. A refusal is an
// *azcore.ResponseError.
func (c *Call) send(ctx context.Context, method, url string, body any) (*arm.Client, *http.Response, error) {
	client, err := arm.NewClient("cli", "v1.0.0", c.conn.credential, c.conn.Options())
	if err != nil {
		return nil, nil, err
	}
	req, err := runtime.NewRequest(ctx, method, url)
	if err != nil {
		return nil, nil, err
	}
	if body != nil {
		if err := runtime.MarshalAsJSON(req, body); err != nil {
			return nil, nil, err
		}
	}
	res, err := client.Pipeline().Do(req)
	if err != nil {
		return nil, nil, err
	}
	if !runtime.HasStatusCode(res, http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent) {
		return nil, nil, runtime.NewResponseError(res)
	}
	return client, res, nil
}
