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
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
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
	a, err := localAccount(state, endpoint)
	if err != nil {
		return nil, err
	}
	return a.connect()
}

// connect prepares a connection; nothing is sent yet.
func (a account) connect() (*Connection, error) {
	var pool *x509.CertPool // nil: the system's
	if a.CA != "" {
		if pool = x509.NewCertPool(); !pool.AppendCertsFromPEM([]byte(a.CA)) {
			return nil, fmt.Errorf("the CA of %s holds no certificate", a.Endpoint)
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	return &Connection{Endpoint: a.Endpoint, Subscription: a.ID, Tenant: a.TenantID, client: a.ClientID, http: client,
		credential: &secretCredential{endpoint: a.Endpoint, id: a.ClientID, secret: a.ClientSecret, http: client}}, nil
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

// loginError says that the server gives no token for these credentials.
type loginError struct{ status, text string }

func (e *loginError) Error() string { return "token endpoint answered " + e.status + ": " + e.text }

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
		return azcore.AccessToken{}, &loginError{status: res.Status, text: answer.Error}
	}
	return azcore.AccessToken{Token: answer.AccessToken, ExpiresOn: time.Now().Add(time.Duration(answer.ExpiresIn) * time.Second)}, nil
}

// Get reads one URL of the API as JSON. A refusal is an *azcore.ResponseError.
func (c *Connection) Get(ctx context.Context, url string, into any) error {
	client, err := arm.NewClient("cli", "v1.0.0", c.credential, c.Options())
	if err != nil {
		return err
	}
	req, err := runtime.NewRequest(ctx, http.MethodGet, url)
	if err != nil {
		return err
	}
	res, err := client.Pipeline().Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if !runtime.HasStatusCode(res, http.StatusOK) {
		return runtime.NewResponseError(res)
	}
	return runtime.UnmarshalAsJSON(res, into)
}

// list reads all pages that begin at a URL.
func (c *Connection) list(ctx context.Context, url string) ([]any, error) {
	all := []any{}
	for url != "" {
		var page struct {
			Value    []any
			NextLink string
		}
		if err := c.Get(ctx, url, &page); err != nil {
			return nil, err
		}
		all, url = append(all, page.Value...), page.NextLink
	}
	return all, nil
}

// Credential returns what the SDK's clients get tokens with.
func (c *Connection) Credential() azcore.TokenCredential { return c.credential }

// ClientID returns who is logged in.
func (c *Connection) ClientID() string { return c.client }
