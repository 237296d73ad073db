package muster_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/codetest"
)

// TestLayoutRefuses shows that the table of this repository catches each kind
// of import it is there to catch, and lets the wanted ones pass.
func TestLayoutRefuses(t *testing.T) {
	const own = module + "/internal/"
	for _, tt := range []struct {
		name, file, imports string
		want                string // part of the only problem; "" for none
	}{
		{"a lower rank", "internal/plan/x.go", own + "vmss", ""},
		{"a higher rank", "internal/vmss/x.go", own + "plan", "rank 1 may not reach up to rank 2"},
		{"a sibling", "internal/vmss/x.go", own + "network", "a sibling"},
		{"a sibling from a test", "internal/vmss/x_test.go", own + "network", ""},
		{"a higher rank from a test", "internal/vmss/x_test.go", own + "plan", "reach up"},
		{"its parent's port", "internal/host/compute/qemu/x.go", own + "host/compute", ""},
		{"its own child", "internal/host/x.go", own + "host/fabric", ""},
		{"its parent's sibling", "internal/host/guest/x.go", own + "host/compute", "a sibling"},
		{"rehearsal -> plan", "internal/rehearsal/x.go", own + "plan", ""},
		{"plan -> rehearsal", "internal/plan/x.go", own + "rehearsal", "a sibling"},
		{"fleettest -> server", "internal/fleettest/x.go", own + "server", ""},
		{"server -> fleettest", "internal/server/x.go", own + "fleettest", "a sibling"},
		{"api -> arm", "internal/api/compute/x.go", own + "arm/wire/compute", ""},
		{"api -> host", "internal/api/compute/x.go", own + "host/compute", "hosts act"},
		{"api test -> host", "internal/api/compute/x_test.go", own + "host", "hosts act"},
		{"one provider -> another", "internal/api/compute/x.go", own + "api/network", "a sibling"},
		{"host -> arm", "internal/host/x.go", own + "arm", "no protocol"},
		{"reconcile -> arm", "internal/reconcile/set/x.go", own + "arm/wire", "no protocol"},
		{"portal -> wire", "internal/portal/x.go", own + "arm/wire/compute", "API JSON"},
		{"a package nobody knows", "internal/vmss/x.go", own + "stuff", "not in the table"},
		{"from a package nobody knows", "internal/stuff/x.go", "fmt", "internal/stuff: package is not in the table"},
		{"main -> server", "cmd/muster/x.go", own + "server", ""},
		{"the SDK in the CLI", "internal/cli/x.go", "github.com/Azure/azure-sdk-for-go/sdk/azcore", ""},
		{"the SDK in the server", "internal/api/x.go", "github.com/Azure/azure-sdk-for-go/sdk/azcore", "Azure SDK"},
		{"the SDK in wire", "internal/arm/wire/x.go", "github.com/Azure/azure-sdk-for-go/sdk/azcore", "Azure SDK"},
		{"the SDK in a test of wire", "internal/arm/wire/x_test.go", "github.com/Azure/azure-sdk-for-go/sdk/azcore", ""},
		{"etcd in its store", "internal/store/etcdstore/x.go", "go.etcd.io/etcd/client/v3", ""},
		{"etcd elsewhere", "internal/store/memstore/x_test.go", "go.etcd.io/etcd/client/v3", "etcd stays"},
		{"testing in a product file", "internal/host/x.go", "testing/fstest", "only conformance suites"},
		{"testing in a suite", "internal/store/storetest/x.go", "testing", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := "package x\n\nimport _ \"" + tt.imports + "\"\n"
			got := layout.Imports(load(t, fstest.MapFS{tt.file: {Data: []byte(src)}}))
			switch {
			case tt.want == "" && len(got) == 0:
			case tt.want != "" && len(got) == 1 && strings.Contains(got[0], tt.want):
			default:
				t.Errorf("%s imports %s: got %q, want %q", tt.file, tt.imports, got, tt.want)
			}
		})
	}
}

func TestPurityCatchesClocksGoroutinesAndTheWorld(t *testing.T) {
	const impure = `package plan

import (
	"context"
	clock "time"
	"net/netip"
	"crypto/sha256"
	"math/rand/v2"
	"golang.org/x/text/cases"
)

var start = clock.Now()
var later = clock.AfterFunc

func run(ctx context.Context) { go run(ctx) }

func fine(t clock.Time) clock.Duration { return t.Sub(clock.Time{}) }
`
	got := layout.Purity(load(t, fstest.MapFS{
		"internal/plan/set.go":      {Data: []byte(impure)},
		"internal/plan/set_test.go": {Data: []byte(impure)},
		"internal/host/host.go":     {Data: []byte(impure)},
	}))
	want := []string{
		"internal/plan/set.go:4: pure package imports context",
		"internal/plan/set.go:8: pure package imports math/rand/v2",
		"internal/plan/set.go:9: pure package imports golang.org/x/text/cases",
		"internal/plan/set.go:12: pure package uses time.Now; take the time as an input",
		"internal/plan/set.go:13: pure package uses time.AfterFunc; take the time as an input",
		"internal/plan/set.go:15: pure package starts a goroutine",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestBannedWordsAreFound(t *testing.T) {
	got, err := codetest.Words(fstest.MapFS{
		"a.go":             {Data: []byte("// TO" + "DO: later\n// TO" + "DO(#12): with an issue\n")},
		"scripts/b.sh":     {Data: []byte("x\ncp /wo" + "rk/x y\nls ./wo" + "rk/x\n")},
		".ci/run":          {Data: []byte("GOPROXY=proxy." + "golang.org\n")},
		".cache/generated": {Data: []byte("GOPROXY=proxy." + "golang.org\n")},
		"docs/image.png":   {Data: []byte("\x00 FIX" + "ME\n")},
	}, bans)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Errorf("got %d problems, want 3: %q", len(got), got)
	}
}

func load(t *testing.T, fsys fstest.MapFS) *codetest.Tree {
	t.Helper()
	tree, err := codetest.Load(fsys, module)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
