package bridge

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/network"
)

// crashEnv names the directory of a fabric that a process of this binary works on
// until it is killed.
const crashEnv = "MUSTER_BRIDGE_TEST_CRASH"

// applyForEver makes, changes and removes a network, again and again.
func applyForEver(dir string) error {
	ctx := context.Background()
	for {
		f, err := Open(ctx, Options{Name: "a", Dir: dir})
		if err != nil {
			return err
		}
		small := plan(red, map[string]string{"p0": "10.1.1.4"})
		small.Subnets = small.Subnets[:1]
		for _, p := range []network.Program{small, withPublic(plan(red, map[string]string{"p0": "10.1.1.4", "p1": "10.1.2.4"}), "p0", public), small} {
			if err := f.Apply(ctx, p); err != nil {
				return err
			}
		}
		if err := f.Remove(ctx, red); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
}

func TestKilledAtAnyPointANetworkConverges(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	opts, before := f.opts, landscape(t)
	p := withPublic(plan(red, map[string]string{"p0": "10.1.1.4"}), "p0", public)
	for i := range 12 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), crashEnv+"="+opts.Dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(40+23*i) * time.Millisecond) // wherever it is then
		cmd.Process.Kill()                                    //nolint:errcheck // it is gone, or Wait says so
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("round %d: the process ended by itself: %v", i, err)
		}
		f = openFabric(t, opts)
		g := bootNetwork(t, f, p)["p0"]
		at, _ := listen(t, g.ns, "0.0.0.0")
		if err := greet(t.Context(), net.JoinHostPort(public.String(), portOf(at))); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		if err := f.Remove(t.Context(), red); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, landscape(t)); diff != "" {
			t.Errorf("round %d: the host (-before +after):\n%s", i, diff)
		}
		if left, _ := filepath.Glob(filepath.Join(opts.Dir, recordPrefix+"*"+recordSuffix)); len(left) > 0 {
			t.Errorf("round %d: files left: %v", i, left)
		}
	}
}

// TestCallsMayComeAtOnce is for the race detector, and for deadlocks.
func TestCallsMayComeAtOnce(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for _, uid := range []network.UID{red, blue} {
		name := "p-" + string(uid[:1])
		p := plan(uid, map[string]string{name: "10.1.1.4"})
		for _, call := range []func(){
			func() { f.Apply(ctx, p) }, //nolint:errcheck // what fails is not the point
			func() { f.Remove(ctx, uid) },
			func() { f.Networks(ctx) },                  //nolint:errcheck // likewise
			func() { f.Traffic(ctx, uid) },              //nolint:errcheck // likewise
			func() { f.Bytes(ctx) },                     //nolint:errcheck // likewise
			func() { f.Detach(ctx, name) },              //nolint:errcheck // likewise
			func() { f.Attach(ctx, cardPort(p, name)) }, //nolint:errcheck // likewise
			func() {
				if file, err := f.Open(ctx, name); err == nil {
					file.Close()
				}
			},
		} {
			for range 2 {
				all.Go(func() {
					for range 5 {
						call()
					}
				})
			}
		}
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		t.Fatal(err)
	}
	apply(t, f, plan(red, nil))
	for _, uid := range []network.UID{red, blue} {
		if err := f.Remove(t.Context(), uid); err != nil {
			t.Error(err)
		}
	}
}

func TestProbeFindsEverythingHereAndChangesNothing(t *testing.T) {
	if noHost != "" {
		t.Skip(noHost)
	}
	before := landscape(t)
	if got := Probe(); got != (Features{}) {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(before, landscape(t)); diff != "" {
		t.Errorf("the host (-before +after):\n%s", diff)
	}
}
