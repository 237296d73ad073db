package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/identity"
	"github.com/muster-vm/muster/internal/server"
	"github.com/muster-vm/muster/internal/store/memstore"
)

// assembled is the handler of a whole server that does not run.
func assembled(t *testing.T) *arm.Server {
	t.Helper()
	images, err := image.Open(t.Context(), image.Options{Simulated: true})
	if err != nil {
		t.Fatal(err)
	}
	who, _, err := identity.Open(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := configOf(t.TempDir())
	plane, err := server.Assemble(context.Background(), server.Parts{Config: c, Backend: memstore.New().Open(), Identity: who, Images: images, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plane.Close)
	return plane.Handler.(*arm.Server)
}

var variable = regexp.MustCompile(`\{[^}]*\}`)

// TestOnlyLoginDiscoveryAndReadinessArePublic tries every route without a token
// and with a broken one.
func TestOnlyLoginDiscoveryAndReadinessArePublic(t *testing.T) {
	h := assembled(t)
	var public []string
	for _, r := range h.Router.Routes() {
		if r.Public {
			public = append(public, r.Method+" "+r.Path)
			continue
		}
		for _, authorization := range []string{"", "Bearer x", "Bearer a.b.c", "Basic eDp5"} {
			req := httptest.NewRequestWithContext(t.Context(), r.Method, "https://localhost"+variable.ReplaceAllString(r.Path, "x")+"?api-version="+r.Versions[0], strings.NewReader("{}"))
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
			}
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, req); w.Code != 401 {
				t.Errorf("%s %s with %q: %d %s", r.Method, r.Path, authorization, w.Code, w.Body)
			}
		}
	}
	slices.Sort(public)
	want := []string{"GET /adfs/.well-known/openid-configuration", "GET /adfs/discovery/keys", "GET /adfs/{tenant}/.well-known/openid-configuration", "GET /aliases.json",
		"GET /metadata/endpoints", "GET /readyz", "GET /{tenant}/.well-known/openid-configuration", "GET /{tenant}/v2.0/.well-known/openid-configuration",
		"POST /adfs/oauth2/token", "POST /{tenant}/oauth2/token", "POST /{tenant}/oauth2/v2.0/token"}
	if diff := cmp.Diff(want, public); diff != "" {
		t.Errorf("public routes (-want +got):\n%s", diff)
	}
}

// TestReadersReadAndContributorsDoEverything holds every route's action against
// the built-in roles.
func TestReadersReadAndContributorsDoEverything(t *testing.T) {
	open := []string{"GET /subscriptions", "GET /tenants", // show what everybody knows
		"GET /subscriptions/{subscription}/operationresults/{operation}", "GET /subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/operations/{operation}",
		"GET /subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/DiskOperations/{operation}",
		"GET /subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}/operations/{operation}",
		"GET /subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}/operationResults/{operation}"} // look at the operation
	handshakes := []string{"Muster.Fleet/console/action", "Muster.Fleet/tunnel/action"} // a GET begins what is more than reading
	for _, r := range assembled(t).Router.Routes() {
		reads := (r.Method == http.MethodGet || r.Method == http.MethodHead) && !slices.Contains(handshakes, r.Action)
		switch name := r.Method + " " + r.Path; {
		case r.Public:
		case r.Action == "" && !slices.Contains(open, name):
			t.Errorf("%s asks for no permission", name)
		case r.Action != "" && access.Reader.Allows(r.Action) != reads:
			t.Errorf("%s is open to readers: %v", name, !reads)
		case r.Action != "" && !access.Contributor.Allows(r.Action):
			t.Errorf("%s is closed to contributors", name)
		}
	}
}

// TestNoAnswerRepeatsTheNameOfAnotherHost asks every route under a name that is
// not the server's.
func TestNoAnswerRepeatsTheNameOfAnotherHost(t *testing.T) {
	h := assembled(t)
	for _, r := range h.Router.Routes() {
		req := httptest.NewRequestWithContext(t.Context(), r.Method, "https://evil.example"+variable.ReplaceAllString(r.Path, "x"), strings.NewReader("{}"))
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code != 400 && r.Path != "/readyz" || strings.Contains(w.Body.String(), "//evil.example") {
			t.Errorf("%s %s: %d %s", r.Method, r.Path, w.Code, w.Body)
		}
	}
}
