package identity

import (
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/resource"
)

// lifetime is how long a token holds.
const lifetime = 24 * time.Hour

// claims are what a token says beyond the registered claims.
type claims struct {
	jwt.Claims
	Tenant string `json:"tid"`
	Object string `json:"oid"`
	App    string `json:"appid"`
	Type   string `json:"idtyp"`
	Name   string `json:"app_displayname,omitempty"`
}

// issue signs a token for the principal. base is "https://host:port".
func (id *Identity) issue(p principal, base, audience string, now time.Time) (string, error) {
	c := claims{
		Claims: jwt.Claims{Issuer: id.issuer(base), Subject: p.ObjectID, Audience: jwt.Audience{audience}, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(lifetime))},
		Tenant: id.state.TenantID, Object: p.ObjectID, App: p.ClientID, Type: "app", Name: p.Name,
	}
	return jwt.Signed(id.signer).Claims(c).Serialize()
}

// issuer names the tenant where az looks for it: after the host.
func (id *Identity) issuer(base string) string { return base + "/" + id.state.TenantID + "/" }

// Authenticate returns whose token it is. It fails with Unauthenticated:
// ExpiredAuthenticationToken, or InvalidAuthenticationToken for everything
// else. Tokens that held once are remembered until they expire.
func (id *Identity) Authenticate(token string) (access.Principal, error) {
	now, sum := time.Now(), sha256.Sum256([]byte(token))
	if p, ok := id.tokens.get(sum, now); ok {
		return p, nil
	}
	c, err := id.parse(token)
	if err != nil {
		return access.Principal{}, invalid("The access token is invalid.").Because(err)
	}
	if c.Expiry == nil || now.After(c.Expiry.Time()) {
		return access.Principal{}, resource.Errorf(resource.Unauthenticated, "ExpiredAuthenticationToken",
			"The access token has expired. Log in again.")
	}
	if c.NotBefore != nil && now.Add(time.Minute).Before(c.NotBefore.Time()) {
		return access.Principal{}, invalid("The access token is not valid yet. Compare the clocks of client and server.")
	}
	if base, ok := strings.CutSuffix(c.Issuer, "/"+id.state.TenantID+"/"); !ok || !id.ours(base) || c.Tenant != id.state.TenantID {
		return access.Principal{}, invalid("The access token is from the wrong issuer '" + clip(c.Issuer) + "'.")
	}
	if len(c.Audience) != 1 || !id.ours(c.Audience[0]) {
		return access.Principal{}, invalid("The access token has been obtained for the wrong audience. Ask for a token for this server's address.")
	}
	for _, p := range id.state.Principals {
		if p.ObjectID == c.Object && p.ClientID == c.App {
			who := access.Principal{ObjectID: p.ObjectID, ClientID: p.ClientID, TenantID: id.state.TenantID, Name: p.Name}
			id.tokens.put(sum, who, c.Expiry.Time())
			return who, nil
		}
	}
	return access.Principal{}, invalid("The access token's principal no longer exists.")
}

// parse checks the signature and reads the claims.
func (id *Identity) parse(token string) (claims, error) {
	var c claims
	t, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return c, err
	}
	return c, t.Claims(id.key.Public(), &c)
}

func invalid(msg string) *resource.Error {
	return resource.Errorf(resource.Unauthenticated, "InvalidAuthenticationToken", "%s", msg)
}

func clip(s string) string { return s[:min(len(s), 128)] }

// maxTokens bounds the cache of verified tokens.
const maxTokens = 4096

// tokenCache holds verified tokens by their hash.
type tokenCache struct {
	mu sync.RWMutex
	by map[[sha256.Size]byte]verified
}

type verified struct {
	who     access.Principal
	expires time.Time
}

func (c *tokenCache) get(sum [sha256.Size]byte, now time.Time) (access.Principal, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.by[sum]
	return v.who, ok && now.Before(v.expires)
}

func (c *tokenCache) put(sum [sha256.Size]byte, who access.Principal, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil || len(c.by) >= maxTokens {
		c.by = map[[sha256.Size]byte]verified{}
	}
	c.by[sum] = verified{who, expires}
}
