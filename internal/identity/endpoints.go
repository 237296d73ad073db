package identity

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Endpoint is one public page of the login protocol.
type Endpoint struct {
	Method, Path string // {names} in the path match one segment
	Handler      http.Handler
}

// Endpoints lists what clients need before they have a token.
func (id *Identity) Endpoints() []Endpoint {
	get := func(path string, f http.HandlerFunc) Endpoint { return Endpoint{http.MethodGet, path, f} }
	post := func(path string) Endpoint { return Endpoint{http.MethodPost, path, http.HandlerFunc(id.token)} }
	return []Endpoint{
		get("/metadata/endpoints", id.metadata),
		get("/adfs/.well-known/openid-configuration", id.discovery),
		get("/adfs/discovery/keys", id.keys),
		get("/adfs/{tenant}/.well-known/openid-configuration", id.discovery),
		get("/{tenant}/.well-known/openid-configuration", id.discovery),
		get("/{tenant}/v2.0/.well-known/openid-configuration", id.discovery),
		post("/adfs/oauth2/token"),
		post("/{tenant}/oauth2/token"),
		post("/{tenant}/oauth2/v2.0/token"),
	}
}

// metadata describes this cloud: an object for the old api-version, a list of
// clouds for newer ones.
func (id *Identity) metadata(w http.ResponseWriter, r *http.Request) {
	base := "https://" + r.Host
	auth := map[string]any{"loginEndpoint": base + "/adfs", "audiences": []string{base}}
	if r.URL.Query().Get("api-version") <= "2018" {
		reply(w, http.StatusOK, map[string]any{"galleryEndpoint": base + "/gallery", "graphEndpoint": base + "/graph",
			"portalEndpoint": base + "/portal", "authentication": auth})
		return
	}
	auth["tenant"], auth["identityProvider"] = "adfs", "ADFS"
	reply(w, http.StatusOK, []any{map[string]any{"name": "Muster", "resourceManager": base, "authentication": auth, "portal": base + "/portal",
		"gallery": base + "/gallery", "graph": base + "/graph", "graphAudience": base + "/graph", "microsoftGraphResourceId": base + "/",
		"vmImageAliasDoc": base + "/aliases.json", "suffixes": map[string]string{}}})
}

// discovery is the OpenID Connect document.
func (id *Identity) discovery(w http.ResponseWriter, r *http.Request) {
	base := "https://" + r.Host
	reply(w, http.StatusOK, map[string]any{
		"issuer": id.issuer(base), "authorization_endpoint": base + "/adfs/oauth2/authorize", "token_endpoint": base + "/adfs/oauth2/token",
		"device_authorization_endpoint": base + "/adfs/oauth2/devicecode", "jwks_uri": base + "/adfs/discovery/keys",
		"grant_types_supported": []string{"client_credentials"}, "response_types_supported": []string{"token"}, "subject_types_supported": []string{"pairwise"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

// keys is the JSON web key set.
func (id *Identity) keys(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: id.key.Public(), KeyID: id.keyID, Algorithm: "RS256", Use: "sig"}}})
}

// refusal is an OAuth error.
type refusal struct {
	status          int
	code, sentence  string
	number          int  // of the AADSTS text that clients show
	challenge, wait bool // WWW-Authenticate, Retry-After
}

// token answers a client_credentials request.
func (id *Identity) token(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	w.Header().Set("Cache-Control", "no-store")
	p, audience, no := id.grant(r, now)
	if no != nil {
		no.reply(w)
		return
	}
	token, err := id.issue(p, "https://"+r.Host, audience, now)
	if err != nil {
		(&refusal{status: http.StatusInternalServerError, code: "server_error", number: 90033, sentence: "The token could not be signed."}).reply(w)
		return
	}
	seconds := int(lifetime / time.Second)
	reply(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
		"expires_on": strconv.FormatInt(now.Add(lifetime).Unix(), 10), "not_before": strconv.FormatInt(now.Unix(), 10), "resource": audience})
}

// grant checks a token request and returns for whom and what the token is.
func (id *Identity) grant(r *http.Request, now time.Time) (principal, string, *refusal) {
	bad := func(code string, number int, sentence string) (principal, string, *refusal) {
		return principal{}, "", &refusal{status: http.StatusBadRequest, code: code, number: number, sentence: sentence}
	}
	if err := r.ParseForm(); err != nil {
		return bad("invalid_request", 900144, "The request body is not a valid form.")
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		return bad("unsupported_grant_type", 70003, "The grant type is not supported; use client_credentials.")
	}
	if !id.Serves(r.Host) {
		return bad("invalid_request", 900144, "The Host header is none of this server's names.")
	}
	audience := r.PostForm.Get("resource")
	if scopes := strings.Fields(r.PostForm.Get("scope")); audience == "" && len(scopes) > 0 {
		audience = strings.TrimSuffix(scopes[0], "/.default")
	}
	if audience == "" {
		audience = "https://" + r.Host
	}
	if !id.ours(audience) {
		return bad("invalid_resource", 500011, "The resource '"+clip(audience)+"' is none of this server's names.")
	}
	p, no := id.client(r, now)
	return p, audience, no
}

// client authenticates the caller by Basic or by the form.
func (id *Identity) client(r *http.Request, now time.Time) (principal, *refusal) {
	name, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, pass, ok := r.BasicAuth(); ok {
		name, secret = unescape(user), unescape(pass)
	}
	p := id.find(name)
	if p.ClientID != "" && id.secrets.has(p.ClientID, secret) {
		return p, nil
	}
	if !id.failures.allow(address(r), now) {
		return principal{}, &refusal{status: http.StatusTooManyRequests, code: "temporarily_unavailable", number: 50196, wait: true,
			sentence: "Too many attempts with wrong credentials from this address. Wait a second."}
	}
	if p.Secret.Salt == nil {
		p.Secret.Salt = make([]byte, 16) // an unknown client takes as long as a wrong secret
	}
	matches, ok := id.hashing.matches(r.Context(), p.Secret, secret)
	if !ok {
		return principal{}, &refusal{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", number: 90033, wait: true, sentence: "The server is busy. Try again."}
	}
	if !matches {
		return principal{}, &refusal{status: http.StatusUnauthorized, code: "invalid_client", number: 7000215, challenge: true,
			sentence: "Invalid client id or client secret provided."}
	}
	id.secrets.add(p.ClientID, secret)
	return p, nil
}

func (id *Identity) find(client string) principal {
	for _, p := range id.state.Principals {
		if strings.EqualFold(p.ClientID, client) {
			return p
		}
	}
	return principal{}
}

// unescape undoes the form encoding that OAuth asks for inside Basic.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// address names who asks. One machine has as many IPv6 addresses as it likes,
// so that those count by their network.
func address(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip := at.Addr().Unmap().WithZone("")
	if network, err := ip.Prefix(64); err == nil && ip.Is6() {
		return network.String()
	}
	return ip.String()
}

func (e *refusal) reply(w http.ResponseWriter) {
	if e.challenge {
		w.Header().Set("WWW-Authenticate", `Basic realm="muster"`)
	}
	if e.wait {
		w.Header().Set("Retry-After", "1")
	}
	reply(w, e.status, map[string]any{"error": e.code, "error_description": "AADSTS" + strconv.Itoa(e.number) + ": " + e.sentence, "error_codes": []int{e.number}})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone; there is nobody to tell
}
