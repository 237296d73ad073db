package identity

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/durable"
)

// Credentials are what a client needs to log in: the contents of admin.json.
type Credentials struct {
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	ClientID       string `json:"clientId"`
	ClientSecret   string `json:"clientSecret"`
}

// Identity is the opened state. It is safe for concurrent use.
type Identity struct {
	dir   string
	names []string // of the server, as in its certificate
	key   *rsa.PrivateKey
	keyID string
	state state // read only once opened

	signer   jose.Signer
	tokens   tokenCache
	secrets  secretCache
	failures failures
	hashing  hashing

	certMu sync.Mutex
	certs  *certificates
}

// state is principals.json.
type state struct {
	TenantID       string      `json:"tenantId"`
	SubscriptionID string      `json:"subscriptionId"`
	Principals     []principal `json:"principals"`
}

// principal is one who may log in.
type principal struct {
	Name     string `json:"name"`
	ClientID string `json:"clientId"`
	ObjectID string `json:"objectId"`
	Secret   hashed `json:"secret"`
	Roles    []role `json:"roles"`
}

type role struct {
	Role  string `json:"role"`
	Scope string `json:"scope"`
}

// Open reads the state in dir, and makes what is missing: key, certificates
// for localhost, this host's name and names, and at first start a tenant, a
// subscription and their owner. The owner's credentials are returned that once
// (nil later); they are also in dir/admin.json.
func Open(dir string, names []string, now time.Time) (*Identity, *Credentials, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	id := &Identity{dir: dir, names: serverNames(names), hashing: make(hashing, maxHashing)}
	if err := id.loadKey(); err != nil {
		return nil, nil, fmt.Errorf("token key: %w", err)
	}
	var err error
	if id.certs, err = openCertificates(dir, id.names, now); err != nil {
		return nil, nil, fmt.Errorf("certificates: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "principals.json"))
	if errors.Is(err, fs.ErrNotExist) {
		first, err := id.first()
		return id, first, err
	}
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(raw, &id.state); err != nil {
		return nil, nil, fmt.Errorf("principals.json: %w", err)
	}
	return id, nil, nil
}

// TenantID returns the tenant's GUID.
func (id *Identity) TenantID() string { return id.state.TenantID }

// SubscriptionID returns the first subscription's GUID.
func (id *Identity) SubscriptionID() string { return id.state.SubscriptionID }

// Assignments returns the role assignments of all principals.
func (id *Identity) Assignments() []access.Assignment {
	var all []access.Assignment
	for _, p := range id.state.Principals {
		for _, r := range p.Roles {
			all = append(all, access.Assignment{ObjectID: p.ObjectID, Role: r.Role, Scope: r.Scope})
		}
	}
	return all
}

// Authorize returns nil if the principal may perform action at scope, and else
// Forbidden.
func (id *Identity) Authorize(p access.Principal, action, scope string) error {
	return access.Check(p, id.Assignments(), action, scope)
}

// first makes the tenant, its subscription and owner. admin.json is written
// first: without principals.json a crash between the two starts over.
func (id *Identity) first() (*Credentials, error) {
	secret := rand.Text() + rand.Text()
	c := &Credentials{TenantID: uuid.NewString(), SubscriptionID: uuid.NewString(), ClientID: uuid.NewString(), ClientSecret: secret}
	id.state = state{TenantID: c.TenantID, SubscriptionID: c.SubscriptionID, Principals: []principal{{
		Name: "admin", ClientID: c.ClientID, ObjectID: uuid.NewString(), Secret: hash(secret),
		Roles: []role{{Role: access.Owner.Name, Scope: "/subscriptions/" + c.SubscriptionID}},
	}}}
	if err := writeJSON(filepath.Join(id.dir, "admin.json"), c); err != nil {
		return nil, err
	}
	return c, writeJSON(filepath.Join(id.dir, "principals.json"), id.state)
}

// loadKey reads or makes the key that signs tokens.
func (id *Identity) loadKey() error {
	file := filepath.Join(id.dir, "token-key.pem")
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			err = writeKey(file, key)
		}
	}
	if err != nil {
		return err
	}
	print, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return err
	}
	id.key, id.keyID = key, base64.RawURLEncoding.EncodeToString(print)
	id.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: id.keyID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	return err
}

// serverNames returns the names and addresses a client may use, without
// duplicates.
func serverNames(extra []string) []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		extra = append([]string{host}, extra...)
	}
	for _, n := range extra {
		if n = strings.ToLower(strings.Trim(n, "[]")); n != "" && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// ours reports whether the URL is https and names this server, on any port.
func (id *Identity) ours(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.User == nil && slices.Contains(id.names, strings.ToLower(u.Hostname()))
}

// Serves reports whether the Host header names this server, on any port.
func (id *Identity) Serves(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "0"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	return slices.Contains(id.names, strings.ToLower(strings.Trim(name, "[]")))
}

func writeJSON(file string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(file, append(raw, '\n'))
}

func writeKey(file string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return durable.Write(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func readKey(file string) (*rsa.PrivateKey, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	k, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an RSA key", file)
	}
	return k, nil
}
