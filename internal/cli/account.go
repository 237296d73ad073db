package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// account is a subscription on a server and how to log in to it: what az calls
// an account and others a context.
type account struct {
	ID           string `json:"subscriptionId"`
	Name         string `json:"name"`
	TenantID     string `json:"tenantId"`
	Endpoint     string `json:"endpoint"`
	CA           string `json:"ca,omitempty"` // PEM; "" for the system's
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
	Default      bool   `json:"default,omitempty"`
}

// shown is an account as `account show` prints it, with az's names and without
// the secret.
func (a account) shown() map[string]any {
	return map[string]any{
		"environmentName": a.Endpoint, "id": a.ID, "isDefault": a.Default, "name": a.Name, "state": "Enabled",
		"tenantId": a.TenantID, "homeTenantId": a.TenantID, "managedByTenants": []any{},
		"user": map[string]any{"name": a.ClientID, "type": "servicePrincipal"},
	}
}

// accounts are all that are logged in, in a file that only its owner reads.
type accounts struct {
	file string
	all  []account
}

// openAccounts reads them from $MUSTER_CONFIG_DIR, or else ~/.muster.
func openAccounts() (*accounts, error) {
	dir := os.Getenv("MUSTER_CONFIG_DIR")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("find the directory of the configuration: %w (set MUSTER_CONFIG_DIR)", err)
		}
		dir = filepath.Join(home, ".muster")
	}
	s := &accounts{file: filepath.Join(dir, "contexts.json")}
	raw, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the contexts: %w", err)
	}
	if err := json.Unmarshal(raw, &s.all); err != nil {
		return nil, fmt.Errorf("%s: %w (remove the file and run `muster login` again)", s.file, err)
	}
	return s, nil
}

// save replaces the file in one step.
func (s *accounts) save() error {
	raw, err := json.MarshalIndent(s.all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.file), ".contexts-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone if all went well
	if _, err := f.Write(append(raw, '\n')); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.file)
}

// find returns the account of a subscription's id or name; "" is the default.
func (s *accounts) find(subscription string) (account, error) {
	if len(s.all) == 0 {
		return account{}, problem("Please run 'muster login' to setup account: `muster login --state DIR` for a server on this machine, " +
			"`muster login --service-principal -u ID -p SECRET --tenant T --endpoint URL --ca FILE` for another.")
	}
	if i := s.index(subscription); i >= 0 {
		return s.all[i], nil
	}
	if subscription == "" {
		return account{}, problem("No account is the default. Choose one with `muster account set -s NAME_OR_ID`.")
	}
	return account{}, problem("The subscription of '%s' doesn't exist in these contexts. `muster account list -o table` names those that do.", subscription)
}

func (s *accounts) index(subscription string) int {
	return slices.IndexFunc(s.all, func(a account) bool {
		return subscription == "" && a.Default || strings.EqualFold(a.ID, subscription) || subscription != "" && a.Name == subscription
	})
}

// choose makes an account the default.
func (s *accounts) choose(id string) {
	for i := range s.all {
		s.all[i].Default = s.all[i].ID == id
	}
}

// put adds an account or replaces that of the same subscription, and makes it
// the default.
func (s *accounts) put(a account) {
	s.all = slices.DeleteFunc(s.all, func(old account) bool { return old.ID == a.ID })
	s.all = append(s.all, a)
	s.choose(a.ID)
}
