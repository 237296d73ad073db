package sim_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/sim"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
)

func get(t *testing.T, d *sim.Driver, id compute.VMID) compute.VM {
	t.Helper()
	vm, err := d.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

func TestBootsTakeBaseGiveOrTakeJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := population.Boot{Base: 20 * time.Second, Jitter: 5 * time.Second}
		d := sim.New(sim.Options{Boot: boot, Seed: 7})
		start := time.Now()
		took := map[time.Duration]bool{}
		d.Notify(func(id compute.VMID) {
			if vm, err := d.Get(t.Context(), id); err == nil && vm.State == compute.Running {
				took[vm.Since.Sub(start)] = true
			}
		})
		for i := range int64(50) {
			if err := d.Create(t.Context(), compute.Fence{}, spec(i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for dur := range took {
			if dur < 15*time.Second || dur > 25*time.Second {
				t.Errorf("a boot took %s", dur)
			}
		}
		if len(took) < 40 {
			t.Errorf("50 boots took only %d different times", len(took))
		}
	})
}

// day is what happens to a small faulty fleet, in the order of its ids.
func day(t *testing.T, seed uint64, ids []int64) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := sim.New(sim.Options{
			Seed: seed, Boot: population.Default().Boot,
			Faults: []population.Fault{
				{Op: population.Create, Probability: .3, Kind: resource.Exhausted, Code: "AllocationFailed"},
				{Op: population.NoBoot, Probability: .2},
			},
		})
		begin := time.Now()
		for _, i := range ids {
			for d.Create(t.Context(), compute.Fence{}, spec(i)) != nil {
				lines = append(lines, fmt.Sprintf("%d refused", i))
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for vm, err := range d.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("%d %s %s", vm.ID.Instance, vm.State, vm.Since.Sub(begin)))
		}
	})
	slices.Sort(lines)
	return lines
}

func TestSeedDecidesWhateverTheOrderOfCalls(t *testing.T) {
	ids := make([]int64, 40)
	for i := range ids {
		ids[i] = int64(i)
	}
	forward := day(t, 1, ids)
	other := day(t, 2, ids)
	slices.Reverse(ids)
	if diff := cmp.Diff(forward, day(t, 1, ids)); diff != "" {
		t.Errorf("the same seed in another order (-forward +backward):\n%s", diff)
	}
	if cmp.Equal(forward, other) {
		t.Error("another seed gave the same day")
	}
}

func TestFaultsStrikeAsTheRuleSays(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault population.Fault
		want  []string // of creating web_0, web_1, web_0 again
	}{
		{"all", population.Fault{Op: population.Create, Kind: resource.Exhausted, Code: "X"}, []string{"X", "X", "X"}},
		{"a count", population.Fault{Op: population.Create, Count: 1, Code: "X"}, []string{"X", "", ""}},
		{"a name", population.Fault{Op: population.Create, Match: "*_1", Code: "X"}, []string{"", "X", ""}},
		{"another host", population.Fault{Op: population.Create, Host: "b*", Code: "X"}, []string{"", "", ""}},
		{"another op", population.Fault{Op: population.Delete, Code: "X"}, []string{"", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := sim.New(sim.Options{Host: "a", Faults: []population.Fault{tt.fault}})
			defer d.Close()
			var got []string
			for _, i := range []int64{0, 1, 0} {
				code := ""
				if e, ok := errors.AsType[*resource.Error](d.Create(t.Context(), compute.Fence{}, spec(i))); ok {
					code = e.Code
				}
				got = append(got, code)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultsLeaveWhatTheirEffectSays(t *testing.T) {
	for _, tt := range []struct {
		effect population.Effect
		want   compute.State // "" for no machine
	}{
		{population.Nothing, ""}, {population.Half, compute.Incomplete}, {population.Full, compute.Running},
	} {
		t.Run("effect "+string(tt.effect), func(t *testing.T) {
			ledger := &sim.Ledger{}
			d := sim.New(sim.Options{Ledger: ledger, Faults: []population.Fault{
				{Op: population.Create, Count: 1, Effect: tt.effect, Kind: resource.Unavailable},
			}})
			defer d.Close()
			err := d.Create(t.Context(), compute.Fence{}, spec(0))
			if !resource.Is(err, resource.Unavailable) {
				t.Errorf("got error %v, want the rule's", err)
			}
			vm, _ := d.Get(t.Context(), spec(0).ID)
			if vm.State != tt.want {
				t.Errorf("state is %q, want %q", vm.State, tt.want)
			}
			if err := d.Create(t.Context(), compute.Fence{}, spec(0)); err != nil {
				t.Fatal(err)
			}
			if got := get(t, d, spec(0).ID).State; got != compute.Running {
				t.Errorf("after the retry the state is %s", got)
			}
			if got := ledger.Count(spec(0).ID); got != (sim.Count{Creates: 1, Boots: 1}) {
				t.Errorf("counts are %+v, want one create and one boot", got)
			}
		})
	}
}

func TestBootFaultsStopAndHangGuests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := sim.New(sim.Options{Boot: population.Default().Boot, Faults: []population.Fault{
			{Op: population.NoBoot, Match: "web_0", Message: "No root file system."},
			{Op: population.Hang, Match: "web_1"},
		}})
		for i := range int64(2) {
			if err := d.Create(t.Context(), compute.Fence{}, spec(i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if vm := get(t, d, spec(0).ID); vm.State != compute.Stopped || vm.Fault != "No root file system." {
			t.Errorf("the guest that cannot boot: %+v", vm)
		}
		if vm := get(t, d, spec(1).ID); vm.State != compute.Starting {
			t.Errorf("the guest that hangs: %+v", vm)
		}
	})
}

func TestGracefulStopTakesTheShorterOfShutdownAndGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := sim.New(sim.Options{Boot: population.Boot{Shutdown: 5 * time.Second}})
		for i, tt := range []struct{ grace, want time.Duration }{{time.Minute, 5 * time.Second}, {time.Second, time.Second}, {0, 0}} {
			s := spec(int64(i))
			if err := d.Create(t.Context(), compute.Fence{}, s); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			stop := compute.Power{Want: compute.Stopped, Graceful: true, Grace: tt.grace}
			if err := d.Power(t.Context(), compute.Fence{}, s.ID, stop); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if vm := get(t, d, s.ID); vm.State != compute.Stopped || vm.Since.Sub(begin) != tt.want {
				t.Errorf("grace %s: %s after %s, want stopped after %s", tt.grace, vm.State, vm.Since.Sub(begin), tt.want)
			}
		}
	})
}

func TestCrashedMachineStopsWithItsFault(t *testing.T) {
	d := sim.New(sim.Options{})
	defer d.Close()
	if err := d.Create(t.Context(), compute.Fence{}, spec(0)); err != nil {
		t.Fatal(err)
	}
	if !d.Crash(spec(0).ID, "The guest panicked.") {
		t.Fatal("the machine is not there")
	}
	if vm := get(t, d, spec(0).ID); vm.State != compute.Stopped || vm.Fault != "The guest panicked." {
		t.Errorf("got %+v", vm)
	}
}

func TestLedgerSeesOneInstanceOnTwoHosts(t *testing.T) {
	ledger := &sim.Ledger{}
	for _, host := range []string{"a", "b"} {
		d := sim.New(sim.Options{Host: host, Ledger: ledger})
		defer d.Close()
		s := spec(0)
		s.ID.Disks = int64(len(host))
		if err := d.Create(t.Context(), compute.Fence{}, s); err != nil {
			t.Fatal(err)
		}
	}
	if got := ledger.Violations(); len(got) != 1 {
		t.Errorf("got violations %q, want one", got)
	}
	if got := ledger.Alive(); got != 2 {
		t.Errorf("%d machines alive, want 2", got)
	}
}

func TestHundredThousandMachinesFitInFortyMegabytes(t *testing.T) {
	const n = 100_000
	if testing.Short() {
		t.Skip("builds a large fleet")
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	synctest.Test(t, func(t *testing.T) {
		d := sim.New(sim.Options{Boot: population.Default().Boot})
		goroutines := runtime.NumGoroutine()
		before := heap()
		for i := range int64(n) {
			s := spec(i)
			s.DataDisks = nil
			if err := d.Create(t.Context(), compute.Fence{}, s); err != nil {
				t.Fatal(err)
			}
		}
		if got := runtime.NumGoroutine(); got > goroutines+1 {
			t.Errorf("%d goroutines more than before", got-goroutines)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		each := (heap() - before) / n
		t.Logf("%d bytes each", each)
		if each > 400 {
			t.Errorf("%d bytes a machine, want at most 400", each)
		}
		running := 0
		for vm, err := range d.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if vm.State == compute.Running {
				running++
			}
		}
		if running != n {
			t.Errorf("%d machines run, want %d", running, n)
		}
	})
}
