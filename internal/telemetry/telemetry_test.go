package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/telemetry"
	"github.com/muster-vm/muster/internal/vmss"
)

// fleet is a store of sets with that many instances each, of which every second
// one is known to run, as Prometheus is told of it.
func fleet(tb testing.TB, sets, instances int) (*store.Store, *metrics.Recorder, *telemetry.Telemetry) {
	tb.Helper()
	ctx, stop := context.WithCancel(context.Background())
	quiet := slog.New(slog.DiscardHandler)
	s, err := store.Open(ctx, memstore.New().Open(), quiet)
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	tb.Cleanup(func() { stop(); wg.Wait() })
	commit := func(changes ...store.Change) {
		if _, err := s.Commit(ctx, changes...); err != nil {
			tb.Fatal(err)
		}
	}
	for i := range sets {
		uid, name := vmss.UID(fmt.Sprint("uid-", i)), fmt.Sprint("web", i)
		set := vmss.ScaleSet{ID: resource.In("s", "Lab", "Microsoft.Compute", "virtualMachineScaleSets", name), UID: uid, Location: "local",
			SKU: vmss.SKU{Name: "Muster_T1", Capacity: instances}}
		commit(store.Put(store.ScaleSets, vmss.NewKey("s", "Lab", name), set))
		for id := range instances {
			key := vmss.InstanceKey{Set: uid, ID: vmss.InstanceID(id)}
			changes := []store.Change{store.Put(store.Instances, key, vmss.Instance{ID: key.ID, Generation: 1})}
			if id%2 == 0 {
				changes = append(changes, store.Put(store.Observations, key, vmss.Observation{Generation: 1, Power: vmss.PowerRunning}))
			}
			commit(changes...)
		}
	}
	r, t := metrics.NewRecorder(0, &metrics.Memory{}), telemetry.New("v1")
	t.Registry.MustRegister(&telemetry.Fleet{Store: s, Metrics: r, Quotas: map[string]int{"cores": 64},
		Hosts: func() []telemetry.Host {
			return []telemetry.Host{{Name: "h", VCPUs: 8, TakenVCPUs: 2, MemoryMB: 4, TakenMemMB: 1}}
		},
		State: func() (telemetry.StateSize, bool) { return telemetry.StateSize{Size: 3, InUse: 2, Quota: 9}, true }})
	return s, r, t
}

func scrape(tb testing.TB, t *telemetry.Telemetry) string {
	tb.Helper()
	w := httptest.NewRecorder()
	t.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(tb.Context(), "GET", "/metrics", nil))
	if w.Code != 200 {
		tb.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func says(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(page, "\n"+l+"\n") {
			t.Errorf("the page does not say %s", l)
		}
	}
}

func TestTheFleetIsToldWithItsZeros(t *testing.T) {
	s, r, told := fleet(t, 1, 3)
	if _, err := s.Commit(t.Context(), store.Put(store.Observations, vmss.InstanceKey{Set: "uid-0", ID: 9}, vmss.Observation{})); err != nil { // of no row
		t.Fatal(err)
	}
	page := scrape(t, told)
	says(t, page,
		`muster_scale_set_capacity{resource_group="lab",scale_set="web0"} 3`,
		`muster_scale_set_instances{power_state="running",resource_group="lab",scale_set="web0"} 2`,
		`muster_scale_set_instances{power_state="unknown",resource_group="lab",scale_set="web0"} 1`,
		`muster_scale_set_instances{power_state="deallocated",resource_group="lab",scale_set="web0"} 0`,
		`muster_scale_set_provisioning{provisioning_state="Succeeded",resource_group="lab",scale_set="web0"} 2`,
		`muster_scale_set_provisioning{provisioning_state="Creating",resource_group="lab",scale_set="web0"} 1`,
		`muster_scale_set_provisioning{provisioning_state="Failed",resource_group="lab",scale_set="web0"} 0`,
		`muster_scale_set_operations_in_progress{resource_group="lab",scale_set="web0"} 0`,
		`muster_quota_usage{location="local",quota="virtualMachines"} 3`,
		`muster_quota_limit{location="local",quota="cores"} 64`,
		`muster_host_vcpus{host="h",kind="taken"} 2`,
		`muster_host_memory_bytes{host="h",kind="offered"} 4.194304e+06`,
		`muster_state_store_bytes{kind="in_use"} 2`)
	if strings.Contains(page, "muster_scale_set_metric{") {
		t.Error("there is a metric of what was never measured")
	}
	v := metrics.Nothing()
	v[metrics.PercentageCPU] = 40
	if err := r.Record(vmss.InstanceKey{Set: "uid-0"}, time.Now(), v); err != nil {
		t.Fatal(err)
	}
	page = scrape(t, told)
	says(t, page, `muster_scale_set_metric{aggregation="Average",metric="Percentage CPU",resource_group="lab",scale_set="web0",unit="Percent"} 40`)
	says(t, page, "muster_metrics_rings 1")
	if strings.Contains(page, "Network In Total") {
		t.Error("there is a metric that has no sample")
	}
}

func TestWhatTheServerDoesIsCountedUnderFewLabels(t *testing.T) {
	told := telemetry.New("v1")
	for i := range 100 {
		told.Request(fmt.Sprint("VERB", i), "", 404, time.Millisecond) // callers choose the method and the path
	}
	told.Request("GET", "/a/{b}", 200, time.Millisecond)
	told.Reconciled("set", time.Millisecond, resource.Errorf(resource.Conflict, "x", "x"))
	told.Committed(time.Millisecond, nil)
	told.Committed(time.Millisecond, errors.New("x"))
	page := scrape(t, told)
	says(t, page,
		`muster_request_duration_seconds_count{code="404",method="other",route=""} 100`,
		`muster_request_duration_seconds_count{code="200",method="GET",route="/a/{b}"} 1`,
		`muster_reconcile_duration_seconds_count{controller="set"} 1`,
		`muster_reconcile_failures_total{controller="set",kind="Conflict"} 1`,
		`muster_store_commit_duration_seconds_count 2`,
		`muster_store_commit_failures_total{kind="Internal"} 1`,
		`muster_build_info{version="v1"} 1`)
	if strings.Contains(page, "VERB") {
		t.Error("a caller can make labels")
	}
}

// BenchmarkScrape scrapes 100,000 instances.
func BenchmarkScrape(b *testing.B) {
	for _, sets := range []int{1, 100} {
		b.Run(fmt.Sprint(sets, " sets"), func(b *testing.B) {
			_, _, told := fleet(b, sets, 100_000/sets)
			b.ReportAllocs()
			for b.Loop() {
				scrape(b, told)
			}
		})
	}
}
