package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/muster-vm/muster/internal/cli/output"
)

var accountTable = "[].{Name:name, CloudName:environmentName, SubscriptionId:id, TenantId:tenantId, State:state, IsDefault:isDefault}"

// loginCommands work on the contexts; they need none.
func loginCommands() []command {
	return []command{
		{path: "login", short: "Log in to a server and keep its subscriptions as contexts", local: true, shape: output.AsIs, table: accountTable,
			takes: "service-principal username password tenant endpoint ca state", run: login},
		{path: "logout", short: "Forget the default context, or that of a user", local: true, takes: "username", run: logout},
		{path: "account list", short: "List the contexts", local: true, shape: output.AsIs, table: accountTable, run: func(_ context.Context, c *call) (any, error) {
			list := []any{}
			for _, a := range c.accounts.all {
				list = append(list, a.shown())
			}
			return list, nil
		}},
		{path: "account show", short: "Show the default context", local: true, shape: output.AsIs, run: func(_ context.Context, c *call) (any, error) {
			a, err := c.accounts.find(c.Subscription)
			return a.shown(), err
		}},
		{path: "account set", short: "Choose the default context", local: true, takes: "name-or-id", run: func(_ context.Context, c *call) (any, error) {
			if c.Subscription == "" {
				return nil, usage("the following arguments are required: --subscription/--name/-n/-s")
			}
			a, err := c.accounts.find(c.Subscription)
			if err != nil {
				return nil, err
			}
			c.accounts.choose(a.ID)
			return nil, c.accounts.save()
		}},
	}
}

// login gets a token, asks the server which subscriptions there are, and keeps
// them. Nothing is written unless all of that works.
func login(ctx context.Context, c *call) (any, error) {
	a, err := c.credentials()
	if err != nil {
		return nil, err
	}
	conn, err := a.connect()
	if err != nil {
		return nil, err
	}
	found, err := conn.list(ctx, a.Endpoint+"/subscriptions?api-version=2022-12-01")
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, problem("No subscriptions found for %s. Ask for a role on the server's subscription.", a.ClientID)
	}
	var shown []any
	for _, item := range slices.Backward(found) {
		s, _ := item.(map[string]any)
		a.ID, a.Name = text(s["subscriptionId"]), text(s["displayName"])
		if tenant := text(s["tenantId"]); tenant != "" {
			a.TenantID = tenant
		}
		c.accounts.put(a)
		a.Default = true
		shown = append(shown, a.shown())
	}
	return shown, c.accounts.save()
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// credentials reads those of a state directory, or those on the command line.
func (c *call) credentials() (account, error) {
	endpoint := strings.TrimSuffix(c.Endpoint, "/")
	if c.State != "" {
		return localAccount(c.State, endpoint)
	}
	if !c.ServicePrincipal {
		return account{}, usage("muster logs in with --state DIR of a server on this machine, or with --service-principal -u ID -p SECRET --tenant T --endpoint URL --ca FILE.")
	}
	a := account{Endpoint: endpoint, TenantID: c.Tenant, ClientID: c.Username}
	if a.ClientID == "" || a.TenantID == "" {
		return a, usage("the following arguments are required: --username/-u, --tenant/-t")
	}
	var err error
	if a.ClientSecret, err = c.secret(); err != nil {
		return a, err
	}
	if c.CA != "" {
		ca, err := os.ReadFile(c.CA)
		if err != nil {
			return a, fmt.Errorf("read the server's CA: %w", err)
		}
		a.CA = string(ca)
	}
	return a, nil
}

// secret is the password: as given, from @FILE, or typed at the terminal.
func (c *call) secret() (string, error) {
	if file, ok := strings.CutPrefix(c.Password, "@"); ok {
		raw, err := os.ReadFile(file)
		return strings.TrimSpace(string(raw)), err
	}
	if c.Password != "" {
		return c.Password, nil
	}
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return "", usage("Please specify both username and password in non-interactive mode: -p SECRET, or -p @FILE.")
	}
	fmt.Fprint(c.err, "Password: ")
	raw, err := term.ReadPassword(in)
	fmt.Fprintln(c.err)
	return string(raw), err
}

// localAccount reads the first principal's credentials and the CA from a state
// directory.
func localAccount(state, endpoint string) (account, error) {
	raw, err := os.ReadFile(filepath.Join(state, "admin.json"))
	if err != nil {
		return account{}, fmt.Errorf("read the credentials of the first principal: %w (has `muster serve --state %s` run?)", err, state)
	}
	var admin struct{ TenantID, SubscriptionID, ClientID, ClientSecret string }
	if err := json.Unmarshal(raw, &admin); err != nil {
		return account{}, fmt.Errorf("%s/admin.json: %w", state, err)
	}
	ca, err := os.ReadFile(filepath.Join(state, "ca.pem"))
	if err != nil {
		return account{}, fmt.Errorf("read the server's CA: %w", err)
	}
	return account{ID: admin.SubscriptionID, TenantID: admin.TenantID, Endpoint: endpoint, CA: string(ca),
		ClientID: admin.ClientID, ClientSecret: admin.ClientSecret}, nil
}

func logout(_ context.Context, c *call) (any, error) {
	who, err := c.accounts.find(c.Subscription)
	if c.Username != "" {
		who, err = account{ClientID: c.Username}, nil
	}
	if err != nil {
		return nil, problem("There are no active accounts.")
	}
	before := len(c.accounts.all)
	c.accounts.all = slices.DeleteFunc(c.accounts.all, func(a account) bool {
		return a.ClientID == who.ClientID && (who.ID == "" || a.ID == who.ID)
	})
	if len(c.accounts.all) == before {
		return nil, problem("User '%s' is not logged in.", c.Username)
	}
	if c.accounts.index("") < 0 && len(c.accounts.all) > 0 {
		c.accounts.choose(c.accounts.all[0].ID)
	}
	return nil, c.accounts.save()
}
