package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/coder/websocket"

	"github.com/muster-vm/muster/internal/cli/stream"
)

// streamCommands reach into an instance through the server.
func streamCommands() []command {
	const target, words = "resource-group name instance-id ", "[NAME ID]"
	return []command{
		{path: "vmss console", short: "Connect to the serial console of an instance", takes: target, args: words, words: nameAndID, run: console},
		{path: "vmss ssh", short: "Log in to an instance; what follows -- is for ssh", takes: target + "login identity port", args: words + " [-- SSH_ARGS]", words: nameAndID, run: secureShell},
		{path: "vmss tunnel", short: "Connect to a TCP port of an instance", takes: target + "port listen", args: words, words: nameAndID, run: tunnel},
	}
}

// nameAndID takes the scale set and the instance where they are not options. What
// follows is for the program that the command runs.
func nameAndID(c *call, words []string) error {
	if c.Name == "" && len(words) > 0 {
		c.Name, words = words[0], words[1:]
	}
	if len(c.InstanceID) == 0 && len(words) > 0 {
		c.InstanceID, words = words[:1], words[1:]
	}
	c.rest = words
	if c.Name == "" || len(c.InstanceID) == 0 {
		return usage("the following arguments are required: NAME, ID (or --name/-n, --instance-id)\nNext: muster vmss list-instances -g GROUP -n NAME -o table")
	}
	c.InstanceID[0] = strings.TrimPrefix(c.InstanceID[0], c.Name+"_") // its name is as good
	return nil
}

// alone refuses words that nothing is done with, and finds the group.
func (c *call) alone(ctx context.Context) error {
	if len(c.rest) > 0 {
		return usage("unrecognized arguments: %s", strings.Join(c.rest, " "))
	}
	return c.findGroup(ctx)
}

// findGroup finds the group of the scale set, where the line does not name it.
func (c *call) findGroup(ctx context.Context) error {
	if c.Group != "" {
		return nil
	}
	all, err := allSets(ctx, c)
	if err != nil {
		return err
	}
	var groups []string
	for _, set := range all {
		if id, err := arm.ParseResourceID(*set.ID); err == nil && strings.EqualFold(*set.Name, c.Name) {
			groups = append(groups, id.ResourceGroupName)
		}
	}
	switch len(groups) {
	case 0:
		return &CommandError{fmt.Sprintf("There is no scale set '%s'.\nNext: muster vmss list -o table", c.Name), exitNotFound}
	case 1:
		c.Group = groups[0]
		return nil
	}
	return usage("Several resource groups have a scale set '%s': %s. Choose one with --resource-group.", c.Name, strings.Join(groups, ", "))
}

// open opens a stream of the instance: its console, or a tunnel. A refusal is an
// *azcore.ResponseError.
func (c *call) open(ctx context.Context, kind string) (*websocket.Conn, error) {
	token, err := c.conn.credential.GetToken(ctx, policy.TokenRequestOptions{})
	if err != nil {
		return nil, err
	}
	query := url.Values{"api-version": {"2026-11-01"}}
	if kind == "tunnel" {
		query.Set("port", fmt.Sprint(c.Port))
	}
	at := fmt.Sprintf("%s/virtualMachines/%s/providers/Muster.Fleet/%s?%s", c.setURL(), url.PathEscape(c.InstanceID[0]), kind, query.Encode())
	ws, res, err := websocket.Dial(ctx, at, &websocket.DialOptions{HTTPClient: c.conn.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + token.Token}}}) //nolint:bodyclose // the library closes it
	if err != nil && res != nil && res.StatusCode >= http.StatusBadRequest {
		return nil, runtime.NewResponseError(res)
	}
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1) // it is the server's own
	return ws, nil
}

// tunnel connects to a port of the instance.
func tunnel(ctx context.Context, c *call) (any, error) {
	if err := c.alone(ctx); err != nil {
		return nil, err
	}
	if c.Listen != "" {
		return nil, c.listen(ctx)
	}
	ws, err := c.open(ctx, "tunnel")
	if err != nil {
		return nil, err
	}
	return nil, stream.Carry(ctx, ws, c.in, c.out)
}

// listen gives each connection that it takes a tunnel of its own, until ctx is
// done.
func (c *call) listen(ctx context.Context) error {
	address := c.Listen
	if !strings.Contains(address, ":") {
		address = "127.0.0.1:" + address
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return problem("muster cannot listen on %s: %v.", address, err)
	}
	c.say("Listening on %s for port %d of %s_%s. End with Ctrl-C.", l.Addr(), c.Port, c.Name, c.InstanceID[0])
	return stream.Listen(ctx, l, func() (*websocket.Conn, error) { return c.open(ctx, "tunnel") }, func(err error) { fmt.Fprintln(c.err, c.explain(err)) })
}
