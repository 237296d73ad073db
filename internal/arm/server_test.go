package arm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
)

// gate knows one token and lets it do everything but what ends in /delete.
type gate struct{}

func (gate) Authenticate(token string) (access.Principal, error) {
	if token != "good" {
		return access.Principal{}, resource.Errorf(resource.Unauthenticated, "InvalidAuthenticationToken", "The access token is invalid.")
	}
	return access.Principal{ObjectID: "me"}, nil
}

func (gate) Authorize(p access.Principal, action, scope string) error {
	role := access.Assignment{ObjectID: "me", Role: "Reader", Scope: "/subscriptions/S"}
	return access.Check(p, []access.Assignment{role}, action, scope)
}

const setPath = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{set}"

func server(t testing.TB, handler arm.Handler) http.Handler {
	t.Helper()
	versions := []string{"2025-01-01", "2024-01-01"}
	s, err := arm.NewServer([]arm.Route{
		{Method: "GET", Path: setPath, Action: "Microsoft.Compute/virtualMachineScaleSets/read", Versions: versions, Handler: handler},
		{Method: "DELETE", Path: setPath, Action: "Microsoft.Compute/virtualMachineScaleSets/delete", Versions: versions, Handler: handler},
		{Method: "POST", Path: setPath + "/restart", Action: "x/read", Versions: versions, Handler: handler},
	}, gate{}, gate{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t testing.TB, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func echo(_ context.Context, r *arm.Request) (*arm.Response, error) {
	return &arm.Response{Body: r.Vars, ETag: "7"}, nil
}

const web = "https://localhost:1/subscriptions/S/resourcegroups/Rg/PROVIDERS/microsoft.compute/virtualmachinescalesets/w%65b"

func TestFixedSegmentsMatchWithoutRegardToCaseAndNamesKeepTheirs(t *testing.T) {
	for _, target := range []string{web, web + "/"} {
		w := ask(t, server(t, echo), "GET", target+"?API-Version=2024-01-01")
		if got, want := w.Body.String(), `{"group":"Rg","set":"web","subscription":"S"}`; w.Code != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", target, w.Code, got, want)
		}
	}
}

func TestRefusalsAreWordedAsAzures(t *testing.T) {
	const v = "?api-version=2024-01-01"
	for _, c := range []struct {
		method, target, auth string
		status               int
		code                 string
	}{
		{"GET", web + v, "", 401, "AuthenticationFailed"},
		{"GET", web + v, "Basic eA==", 401, "AuthenticationFailed"},
		{"GET", web + v, "Bearer bad", 401, "InvalidAuthenticationToken"},
		{"GET", "https://h/nowhere" + v, "", 401, "AuthenticationFailed"},
		{"GET", "https://h/nowhere" + v, "Bearer good", 404, "NotFound"},
		{"GET", "https://h/subscriptions/S/providers/No.Such/x" + v, "Bearer good", 404, "InvalidResourceNamespace"},
		{"GET", "https://h/subscriptions/S/providers/Microsoft.Compute/x" + v, "Bearer good", 404, "InvalidResourceType"},
		{"PUT", web + v, "Bearer good", 405, "MethodNotAllowed"},
		{"GET", web, "Bearer good", 400, "MissingApiVersionParameter"},
		{"GET", web + "?api-version=2001-01-01", "Bearer good", 400, "NoRegisteredProviderFound"},
		{"GET", web + "?api-version=new", "Bearer good", 400, "InvalidApiVersionParameter"},
		{"DELETE", web + v, "Bearer good", 403, "AuthorizationFailed"},
		{"GET", strings.Replace(web, "/S/", "/T/", 1) + v, "Bearer good", 403, "AuthorizationFailed"},
		{"GET", strings.Replace(web, "/Rg/", "/a%2Fb/", 1) + v, "Bearer good", 400, "InvalidRequestUri"},
	} {
		w := ask(t, server(t, echo), c.method, c.target, "Authorization", c.auth)
		if got := code(t, w); w.Code != c.status || got != c.code {
			t.Errorf("%s %s as %q: %d %s, want %d %s", c.method, c.target, c.auth, w.Code, got, c.status, c.code)
		}
		if has := w.Header().Get("WWW-Authenticate") != ""; has != (c.status == 401) {
			t.Errorf("%s %s: WWW-Authenticate is there: %v", c.method, c.target, has)
		}
	}
}

func code(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct{ Error struct{ Code string } }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%q: %v", w.Body, err)
	}
	return body.Error.Code
}

func TestEveryKindHasAStatusAndACode(t *testing.T) {
	var got strings.Builder
	for _, kind := range resource.Kinds() {
		h := server(t, func(context.Context, *arm.Request) (*arm.Response, error) {
			return nil, &resource.Error{Kind: kind, Msg: "secret?", RetryAfter: 1500 * time.Millisecond}
		})
		w := ask(t, h, "GET", web+"?api-version=2024-01-01")
		if kind == resource.Internal && strings.Contains(w.Body.String(), "secret?") {
			t.Error("an internal error shows its text")
		}
		fmt.Fprintf(&got, "%s %d %s %s\n", kind, w.Code, code(t, w), w.Header().Get("Retry-After"))
	}
	want := `Internal 500 InternalServerError 2
Invalid 400 BadRequest 2
Unauthenticated 401 AuthenticationFailed 2
Forbidden 403 AuthorizationFailed 2
NotFound 404 NotFound 2
Conflict 409 Conflict 2
Precondition 412 PreconditionFailed 2
Throttled 429 TooManyRequests 2
Exhausted 409 AllocationFailed 2
Unavailable 503 ServiceUnavailable 2
Canceled 409 OperationPreempted 2
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJoinedErrorsBecomeDetails(t *testing.T) {
	h := server(t, func(context.Context, *arm.Request) (*arm.Response, error) {
		return nil, errors.Join(resource.Errorf(resource.Invalid, "A", "One.").At("a"), resource.Errorf(resource.Invalid, "B", "Two."))
	})
	w := ask(t, h, "GET", web+"?api-version=2024-01-01")
	want := `{"error":{"code":"A","message":"The request has 2 problems. The first: One.","details":[{"code":"A","message":"One.","target":"a"},{"code":"B","message":"Two."}]}}`
	if w.Code != 400 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAPanicIsAnInternalErrorThatHidesItsText(t *testing.T) {
	h := server(t, func(context.Context, *arm.Request) (*arm.Response, error) { panic("secret") })
	w := ask(t, h, "GET", web+"?api-version=2024-01-01")
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), w.Header().Get("X-Ms-Request-Id")) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLongOperationsArePolledWhereTheHeadersSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := server(t, func(context.Context, *arm.Request) (*arm.Response, error) {
			return &arm.Response{Status: 202, Async: &arm.Async{OperationPath: "/ops/1", Location: true}}, nil
		})
		w := ask(t, h, "POST", web+"/restart?api-version=2024-01-01")
		at, head := w.Header().Get("Azure-AsyncOperation"), w.Header()
		if w.Code != 202 || !strings.HasPrefix(at, "https://localhost:1/ops/1?p=") || !strings.HasSuffix(at, "&api-version=2024-01-01") ||
			head.Get("Location") != at+"&monitor=true" || head.Get("Retry-After") != "1" || head.Get("Azure-AsyncNotification") != "Enabled" {
			t.Errorf("%d %v", w.Code, head)
		}
	})
}

func TestReadsOfAKnownETagAre304(t *testing.T) {
	w := ask(t, server(t, echo), "GET", web+"?api-version=2024-01-01", "If-None-Match", `"3", W/"7"`)
	if w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("ETag") != `"7"` {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestPreconditionsHoldForListsStarsAndWeakTags(t *testing.T) {
	for _, c := range []struct {
		header, value, current string
		ok                     bool
	}{
		{"If-Match", `"7"`, "7", true}, {"If-Match", `W/"7"`, "7", true}, {"If-Match", `"1","7"`, "7", true},
		{"If-Match", `"1"`, "7", false}, {"If-Match", "*", "7", true}, {"If-Match", "*", "", false},
		{"If-None-Match", "*", "7", false}, {"If-None-Match", "*", "", true}, {"If-None-Match", `"1"`, "7", true},
	} {
		r := &arm.Request{HTTP: httptest.NewRequest(http.MethodPut, "/", nil)}
		r.HTTP.Header.Set(c.header, c.value)
		if err := arm.Precondition(r, c.current); (err == nil) != c.ok || err != nil && !resource.Is(err, resource.Precondition) {
			t.Errorf("%s: %s with %q: %v", c.header, c.value, c.current, err)
		}
	}
}

func TestPagesFollowEachOtherToTheEnd(t *testing.T) {
	all, seen, next := []string{"a", "b", "c", "d", "e"}, []string(nil), "https://h/x?api-version=1&$filter=y"
	for next != "" {
		r := &arm.Request{HTTP: httptest.NewRequest(http.MethodGet, next, nil), Base: "https://h"}
		page, link, err := arm.Page(r, all, 2, func(s string) string { return s })
		if err != nil {
			t.Fatal(err)
		}
		seen, next = append(seen, page...), link
	}
	if diff := cmp.Diff(all, seen); diff != "" {
		t.Error(diff)
	}
	r := &arm.Request{HTTP: httptest.NewRequest(http.MethodGet, "/x?$skiptoken=zzz", nil)}
	if _, _, err := arm.Page(r, all, 2, func(s string) string { return s }); !resource.Is(err, resource.Invalid) {
		t.Errorf("a foreign token: %v", err)
	}
}

func TestBodiesAbove4MiBAreRefused(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, web+"/restart?api-version=2024-01-01", strings.NewReader(strings.Repeat("x", 4<<20+1)))
	r.Header.Set("Authorization", "Bearer good")
	w := httptest.NewRecorder()
	server(t, echo).ServeHTTP(w, r)
	if w.Code != 413 || code(t, w) != "RequestContentTooLarge" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func BenchmarkGet(b *testing.B) {
	h := server(b, echo)
	for b.Loop() {
		if w := ask(b, h, "GET", web+"?api-version=2024-01-01"); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

func TestHostsThatAreNotTheServersAreRefused(t *testing.T) {
	h := server(t, echo).(*arm.Server)
	h.Serves = func(host string) bool { return host == "localhost:1" }
	if w := ask(t, h, "GET", web+"?api-version=2024-01-01"); w.Code != 200 {
		t.Errorf("its own name: %d %s", w.Code, w.Body)
	}
	for _, target := range []string{strings.Replace(web, "localhost:1", "evil.example", 1) + "?api-version=2024-01-01", "https://evil.example/nothing"} {
		if w := ask(t, h, "GET", target); w.Code != 400 || code(t, w) != "InvalidHostName" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestSegmentsThatSeemToBeOthersAreRefused(t *testing.T) {
	h := server(t, echo)
	for _, segment := range []string{"a%2Fb", "a%00", "a%0a", "a%7f", "%ff", "w%C4%B0b", "%E2%84%AA", "wİb"} {
		at := strings.Replace(web, "w%65b", segment, 1) + "?api-version=2024-01-01"
		if w := ask(t, h, "GET", at); w.Code != 400 || code(t, w) != "InvalidRequestUri" {
			t.Errorf("%s: %d %s", segment, w.Code, w.Body)
		}
	}
}

func TestAnswersDoNotRepeatWhatIsLong(t *testing.T) {
	h, long := server(t, echo), strings.Repeat("x", 40000)
	for target, header := range map[string]string{web + long + "/" + long: "", "https://localhost:1/" + long: "", web + "?api-version=" + long: "",
		"https://localhost:1/subscriptions/S/providers/" + long + "/a/b?api-version=" + long: ""} {
		if w := ask(t, h, "GET", target, "If-Match", header); w.Code < 400 || w.Body.Len() > 2000 {
			t.Errorf("%.100s: %d, %d bytes", target, w.Code, w.Body.Len())
		}
	}
	r := &arm.Request{HTTP: httptest.NewRequest(http.MethodPut, "/", nil)}
	r.HTTP.Header.Set("If-Match", long)
	if err := arm.Precondition(r, "1"); err == nil || len(err.Error()) > 500 {
		t.Errorf("%.100v", err)
	}
}
