package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/identity"
	"github.com/muster-vm/muster/internal/resource"
)

func open(t testing.TB, dir string, names ...string) (*identity.Identity, *identity.Credentials) {
	t.Helper()
	id, first, err := identity.Open(dir, names, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return id, first
}

func serve(id *identity.Identity, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	for _, e := range id.Endpoints() {
		if r.URL.Path == e.Path && r.Method == e.Method {
			e.Handler.ServeHTTP(w, r)
			return w
		}
	}
	http.NotFound(w, r)
	return w
}

func login(id *identity.Identity, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://localhost:8443/adfs/oauth2/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return serve(id, r)
}

func form(c *identity.Credentials, scope string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret}, "scope": {scope}}
}

func token(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	return got.Token
}

func TestTheFirstPrincipalOwnsTheSubscriptionAndIsShownOnce(t *testing.T) {
	dir := t.TempDir()
	id, first := open(t, dir)
	var admin identity.Credentials
	raw, err := os.ReadFile(filepath.Join(dir, "admin.json"))
	if err != nil || json.Unmarshal(raw, &admin) != nil || admin != *first {
		t.Fatalf("admin.json is %s (%v), shown was %v", raw, err, *first)
	}
	who, err := id.Authenticate(token(t, login(id, form(first, "https://localhost:8443/.default"))))
	if err != nil || who.ClientID != first.ClientID || who.TenantID != id.TenantID() {
		t.Fatal(who, err)
	}
	if err := id.Authorize(who, "x/delete", "/subscriptions/"+id.SubscriptionID()+"/resourceGroups/g"); err != nil {
		t.Error(err)
	}
	if err := id.Authorize(who, "x/read", "/subscriptions/other"); !resource.Is(err, resource.Forbidden) {
		t.Error(err)
	}
	again, shown := open(t, dir)
	if shown != nil || again.TenantID() != id.TenantID() {
		t.Error("a second start shows credentials or forgets the tenant")
	}
	if _, err := again.Authenticate(token(t, login(id, form(first, "https://localhost:8443/.default")))); err != nil {
		t.Errorf("a token from before the restart: %v", err)
	}
}

func TestFilesAreForTheOwnerOnlyAndHoldNoSecretButAdmin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, first := open(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 7 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Error(f, info.Mode(), err)
		}
		raw, err := os.ReadFile(f)
		if has := strings.Contains(string(raw), first.ClientSecret); err != nil || has != (filepath.Base(f) == "admin.json") {
			t.Errorf("%s holds the secret: %v (%v)", f, has, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), err)
	}
}

func TestEveryNameInTheCertificateIsAnAudience(t *testing.T) {
	id, first := open(t, t.TempDir(), "vm.example")
	for scope, ok := range map[string]bool{
		"https://localhost:8443/.default": true, "https://localhost:8443//.default": true, "https://vm.example/.default": true,
		"https://[::1]:8443/.default": true, "": true, " ": true, "https://other.example/.default": false, "http://localhost/.default": false,
	} {
		w := login(id, form(first, scope))
		if (w.Code == 200) != ok {
			t.Errorf("%q: %d %s", scope, w.Code, w.Body)
			continue
		}
		if !ok {
			continue
		}
		if _, err := id.Authenticate(token(t, w)); err != nil {
			t.Errorf("%q: %v", scope, err)
		}
	}
}

func TestWrongCredentialsAreInvalidClientAndThenThrottled(t *testing.T) {
	id, first := open(t, t.TempDir())
	token(t, login(id, form(first, "")))
	wrong := form(first, "")
	wrong.Set("client_secret", "no")
	codes := map[int]int{}
	for range 12 {
		w := login(id, wrong)
		codes[w.Code]++
		if w.Code == 401 && !strings.Contains(w.Body.String(), `"invalid_client"`) {
			t.Error(w.Body)
		}
	}
	if codes[401] == 0 || codes[401]+codes[429] != 12 {
		t.Error(codes)
	}
	token(t, login(id, form(first, ""))) // who was verified is not locked out
}

func TestForgedTokensAreRefused(t *testing.T) {
	id, first := open(t, t.TempDir())
	other, theirs := open(t, t.TempDir())
	good := token(t, login(id, form(first, "")))
	parts := strings.Split(good, ".")
	for _, bad := range []string{"", "x", "a.b.c", token(t, login(other, form(theirs, ""))), parts[0] + "." + parts[1] + ".", "eyJhbGciOiJub25lIn0." + parts[1] + "."} {
		if _, err := id.Authenticate(bad); !resource.Is(err, resource.Unauthenticated) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTheServerCertificateIsTrustedByItsAuthorityAndFollowsItsNames(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	open(t, dir)
	id, _ := open(t, dir, "vm.example")
	raw, err := os.ReadFile(id.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	before, err := id.TLSConfig().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "vm.example"} {
		if _, err := before.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	later, _, err := identity.Open(dir, []string{"vm.example"}, now.Add(810*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	after, err := later.TLSConfig().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil || !after.Leaf.NotAfter.After(before.Leaf.NotAfter) {
		t.Error("the certificate was not renewed before its end", err)
	}
}

var shared = sync.OnceValue(func() *identity.Identity {
	dir, err := os.MkdirTemp("", "identity")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	id, _, err := identity.Open(dir, nil, time.Now())
	if err != nil {
		panic(err)
	}
	return id
})

func FuzzAuthenticate(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if who, err := shared().Authenticate(token); err == nil || who != (access.Principal{}) {
			t.Error(who, err)
		}
	})
}

func FuzzTokenForm(f *testing.F) {
	f.Add("grant_type=client_credentials&scope=%20&client_id=a")
	f.Add("grant_type=client_credentials&resource=https://localhost&client_id=")
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "https://localhost/adfs/oauth2/token", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if w := serve(shared(), r); w.Code < 400 || w.Code >= 500 {
			t.Error(w.Code, w.Body)
		}
	})
}

func BenchmarkAuthenticateAgain(b *testing.B) {
	id, first := open(b, b.TempDir())
	tok := token(b, login(id, form(first, "")))
	for b.Loop() {
		if _, err := id.Authenticate(tok); err != nil {
			b.Fatal(err)
		}
	}
}

// guess asks for a token from an address, and returns the status.
func guess(id *identity.Identity, first *identity.Credentials, from, secret string) int {
	wrong := form(first, "")
	wrong.Set("client_secret", secret)
	r := httptest.NewRequest(http.MethodPost, "https://localhost:8443/adfs/oauth2/token", strings.NewReader(wrong.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = from
	return serve(id, r).Code
}

func TestGuessesFromOneIPv6NetworkCountTogether(t *testing.T) {
	id, first := open(t, t.TempDir())
	codes := map[int]int{}
	for i := range 16 {
		codes[guess(id, first, fmt.Sprintf("[2001:db8::%x]:1000", i), "no")]++
	}
	if codes[429] == 0 {
		t.Errorf("sixteen addresses of one network could guess as they liked: %v", codes)
	}
	if code := guess(id, first, "[2001:db8:0:1::1]:1000", "no"); code != 401 {
		t.Errorf("the next network: %d", code)
	}
	if code := guess(id, first, "[::ffff:192.0.2.1]:1000", "no"); code != 401 {
		t.Errorf("an IPv4 address: %d", code)
	}
}

func TestOnlyTheServersOwnNamesAreServed(t *testing.T) {
	id, _ := open(t, t.TempDir(), "vm.example", "fd00::7")
	for host, want := range map[string]bool{"localhost": true, "LOCALHOST:1": true, "127.0.0.1:8443": true, "[::1]:8443": true, "[::1]": true, "vm.example:443": true, "[fd00::7]:1": true,
		"": false, ":8443": false, "evil.example": false, "evil.example:8443": false, "vm.example.evil": false, "localhost:": false, "localhost:x": false, "localhost:99999": false, "localhost:1:2": false} {
		if got := id.Serves(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
