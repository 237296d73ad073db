// Package muster_test keeps the rules that the repository sets itself: layers,
// purity, documentation, size budgets, linked modules and words.
package muster_test

import (
	"flag"
	"os"
	"regexp"
	"sync"
	"testing"

	"github.com/muster-vm/muster/internal/codetest"
)

const module = "github.com/muster-vm/muster"

var update = flag.Bool("update", false, "rewrite golden files")

// layout is the plan of the house. A new package gets its place here first.
var layout = codetest.Layout{
	Ranks: []string{
		0: "internal/resource",
		1: "internal/vmss internal/network internal/autoscale internal/access internal/template internal/population internal/disk",
		2: "internal/plan internal/rehearsal",
		3: "internal/store internal/store/memstore internal/store/etcdstore internal/store/storetest " +
			"internal/metrics internal/metrics/metricstest internal/metrics/tsdb internal/metrics/remotewrite internal/controller internal/durable internal/rights internal/systemd",
		4: "internal/host internal/host/compute internal/host/compute/qemu internal/host/compute/qemu/qmp " +
			"internal/host/compute/qemu/args internal/host/compute/qemu/block internal/host/compute/qemu/img internal/host/compute/qemu/process internal/host/compute/qemu/probe internal/host/compute/qemu/serial " +
			"internal/host/compute/sim internal/host/compute/drivertest " +
			"internal/host/fabric internal/host/fabric/sim internal/host/fabric/fabrictest internal/host/fabric/bridge internal/host/fabric/bridge/dhcp internal/host/fabric/bridge/dns internal/host/fabric/bridge/ruleset internal/host/fabric/bridge/tables internal/host/guest internal/host/probe " +
			"internal/host/metadata internal/host/image internal/backup " +
			"internal/reconcile internal/reconcile/set internal/reconcile/autoscale internal/reconcile/deployment " +
			"internal/reconcile/network internal/reconcile/disk internal/reconcile/garbage internal/reconcile/group " +
			"internal/host/volume internal/host/volume/sim internal/host/volume/volumetest",
		5: "internal/arm internal/arm/wire internal/arm/wire/compute internal/arm/wire/compute/nic internal/arm/wire/network internal/arm/wire/wiretest " +
			"internal/arm/wire/insights internal/arm/wire/resources internal/arm/wire/authorization " +
			"internal/identity",
		6: "internal/api internal/api/compute internal/api/network internal/api/insights internal/api/resources " +
			"internal/api/authorization internal/api/compute/catalogue internal/api/fleet internal/portal internal/cli internal/cli/output internal/cli/card internal/cli/demo internal/cli/network internal/cli/progress " +
			"internal/cli/span internal/cli/stream internal/telemetry",
		7: "internal/server internal/server/doctor internal/fleettest",
		8: "internal/program",
		9: ". cmd/muster internal/codetest bench/... guest/... test/...",
	},
	PureRanks: 3,
	Exceptions: []codetest.Edge{
		{From: "internal/rehearsal", To: "internal/plan"},
		{From: "internal/fleettest", To: "internal/server"},
		{From: "internal/host/compute/qemu", To: "internal/host/guest"}, // docs/adr/0003
	},
	Never: []codetest.Edge{
		{From: "internal/api/...", To: "internal/host/...", Why: "the API writes rows; hosts act on them"},
		{From: "internal/host/...", To: "internal/arm/...", Why: "no protocol below the API"},
		{From: "internal/reconcile/...", To: "internal/arm/...", Why: "no protocol below the API"},
		{From: "internal/identity/...", To: "internal/arm/wire/...", Why: jsonShapes},
		{From: "internal/portal/...", To: "internal/arm/wire/...", Why: jsonShapes},
		{From: "internal/cli/...", To: "internal/arm/wire/...", Why: jsonShapes},
		{From: "internal/server/...", To: "internal/arm/wire/...", Why: jsonShapes},
	},
	Fences: []codetest.Fence{
		{
			Path: "github.com/Azure", In: []string{"internal/cli", "internal/cli/demo", "internal/fleettest", "test/..."},
			Tests: []string{"internal/arm/wire/..."}, Why: "the Azure SDK is a client and an oracle, never the server",
		},
		{
			Path: "go.etcd.io", In: []string{"internal/store/etcdstore", "internal/server", "test/..."},
			Why: "etcd stays behind internal/store",
		},
		{
			Path: "github.com/vishvananda", In: []string{"internal/host/...", "bench/...", "test/..."},
			Why: "network devices belong to the host",
		},
		{
			Path: "github.com/google/nftables", In: []string{"internal/host/...", "bench/...", "test/..."},
			Why: "packet rules belong to the host",
		},
		{
			Path: "github.com/insomniacslk/dhcp", In: []string{"internal/host/fabric/...", "test/..."},
			Why: "DHCP belongs to the fabric",
		},
		{
			Path: "github.com/miekg/dns", In: []string{"internal/host/fabric/bridge/dns"}, Tests: []string{"internal/host/fabric/...", "test/..."},
			Why: "names belong to the fabric",
		},
		{
			Path: "github.com/prometheus", In: []string{"internal/metrics/tsdb", "internal/metrics/remotewrite", "internal/telemetry", "internal/server"},
			Why: "the rest of the house counts by functions",
		},
		{
			Path: "k8s.io/client-go", In: []string{"internal/controller"},
			Why: "the work queue stays behind internal/controller",
		},
		{Path: "testing", In: suites, Tests: everywhere, Why: "only conformance suites and tests import it"},
		{Path: "pgregory.net/rapid", In: suites, Tests: everywhere, Why: "only conformance suites and tests import it"},
		{Path: "github.com/google/go-cmp", In: suites, Tests: everywhere, Why: "only conformance suites and tests import it"},
		{Path: "github.com/cockroachdb/datadriven", In: suites, Tests: everywhere, Why: "only conformance suites and tests import it"},
		{Path: "github.com/rogpeppe/go-internal", In: suites, Tests: everywhere, Why: "only conformance suites and tests import it"},
		{Path: "github.com/stretchr/testify", Why: "tests use the standard library and go-cmp"},
		{Path: "github.com/samber/lo", Why: "slices, maps and iterators suffice"},
		{Path: "sigs.k8s.io/controller-runtime", Why: "the engine is internal/controller"},
	},
}

const jsonShapes = "API JSON is known to internal/arm and internal/api only"

var everywhere = []string{"..."}

// suites are the packages whose non-test files are test code.
var suites = []string{
	"internal/store/storetest", "internal/metrics/metricstest", "internal/host/compute/drivertest",
	"internal/fleettest", "test/...", "internal/host/volume/volumetest", "internal/host/fabric/fabrictest", "internal/arm/wire/wiretest",
}

var budget = codetest.Budget{
	FunctionP90: 35, FunctionP99: 80, FunctionMax: 100, FewFunctions: 200,
	File: 600, Package: 3000,
	Depth: 7, FanOut: 12, FanOutFree: []string{"internal/server"},
}

// bans are written so that this file does not contain what it bans.
var bans = []codetest.Ban{
	{Pattern: regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b([^(]|$)`), Except: []string{".golangci.yml"}, Why: "do it, or name the issue: (#12) right after the word"},
	{Pattern: regexp.MustCompile(`(^|[\s"'=(])/wo` + `rk/`), Why: "a path of one machine"},
	{Pattern: regexp.MustCompile(`proxy\.` + `golang\.org|registry\.` + `npmjs\.org|files\.` + `pythonhosted\.org`), Why: "which registry mirror is used is the user's business"},
	{Pattern: regexp.MustCompile(`(?m)^(<{7}|>{7}) `), Why: "a merge conflict"},
}

// tree parses the repository once for all tests.
var tree = sync.OnceValues(func() (*codetest.Tree, error) {
	return codetest.Load(os.DirFS("."), module)
})

func report(t *testing.T, rule func(*codetest.Tree) []string) {
	t.Helper()
	repo, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rule(repo) {
		t.Error(p)
	}
}

func TestImportsFollowRanks(t *testing.T) { report(t, layout.Imports) }

func TestLowerRanksArePure(t *testing.T) { report(t, layout.Purity) }

func TestEverythingExportedIsDocumented(t *testing.T) { report(t, codetest.Docs) }

func TestSizesStayWithinBudget(t *testing.T) { report(t, budget.Check) }

func TestNamesSaySomething(t *testing.T) { report(t, codetest.Names) }

func TestNoFileHasBannedWords(t *testing.T) {
	problems, err := codetest.Words(os.DirFS("."), bans)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
