// Package cli is muster's commands over its public API. It talks to the server
// through the Azure SDK clients, so every command is a proof that they work.
package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Connection is how to reach a server.
type Connection struct {
	Endpoint     string // https://host:port
	Subscription string
	Tenant       string
	client       string // id that logs in
	credential   azcore.TokenCredential
	http         *http.Client
}

// Connect reads the first principal's credentials and the CA from a state
// directory.
func Connect(state, endpoint string) (*Connection, error) {
	raw, err := os.ReadFile(filepath.Join(state, "admin.json"))
	if err != nil {
		return nil, fmt.Errorf("read the credentials of the first principal: %w (has `muster serve --state %s` run?)", err, state)
	}
	var admin struct{ TenantID, SubscriptionID, ClientID, ClientSecret string }
	if err := json.Unmarshal(raw, &admin); err != nil {
		return nil, fmt.Errorf("%s/admin.json: %w", state, err)
	}
	ca, err := os.ReadFile(filepath.Join(state, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("read the server's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s/ca.pem holds no certificate", state)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	c := &Connection{Endpoint: endpoint, Subscription: admin.SubscriptionID, Tenant: admin.TenantID, client: admin.ClientID, http: client}
	c.credential = &secretCredential{endpoint: endpoint, id: admin.ClientID, secret: admin.ClientSecret, http: client}
	return c, nil
}

// Options configures the Azure SDK clients for this server.
func (c *Connection) Options() *arm.ClientOptions {
	return &arm.ClientOptions{DisableRPRegistration: true, ClientOptions: policy.ClientOptions{
		Transport: c.http,
		Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: c.Endpoint, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: c.Endpoint, Audience: c.Endpoint}}},
	}}
}

// secretCredential gets tokens with a client secret.
type secretCredential struct {
	endpoint, id, secret string
	http                 *http.Client
}

// GetToken implements azcore.TokenCredential.
func (s *secretCredential) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.id}, "client_secret": {s.secret}, "scope": {s.endpoint + "/.default"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint+"/adfs/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return azcore.AccessToken{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.http.Do(req)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Error       string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return azcore.AccessToken{}, fmt.Errorf("token endpoint answered %s: %w", res.Status, err)
	}
	if answer.AccessToken == "" {
		return azcore.AccessToken{}, fmt.Errorf("token endpoint answered %s: %s", res.Status, answer.Error)
	}
	return azcore.AccessToken{Token: answer.AccessToken, ExpiresOn: time.Now().Add(time.Duration(answer.ExpiresIn) * time.Second)}, nil
}

// get reads one URL of the API as JSON.
func (c *Connection) get(ctx context.Context, url string, into any) error {
	token, err := c.credential.GetToken(ctx, policy.TokenRequestOptions{})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Token)
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
