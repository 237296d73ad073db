package sim_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/sim"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
)

// TestRetryingThroughFaultsComesToTheSameEnd drives one machine through a random
// life, once on a faulty host with a client that repeats each call until it
// succeeds, and once on a sound host, and compares after each step.
func TestRetryingThroughFaultsComesToTheSameEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ledger := &sim.Ledger{}
		faulty := sim.New(sim.Options{Faults: drawFaults(t), Seed: rapid.Uint64().Draw(t, "seed"), Ledger: ledger})
		sound := sim.New(sim.Options{})
		defer faulty.Close()
		defer sound.Close()
		s := spec(0)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			do := drawStep(t, &s)
			before := [2]map[string]string{faulty.Disks(s.ID), sound.Disks(s.ID)}
			persist(t, func() error { return do(faulty) })
			persist(t, func() error { return do(sound) })
			got, want := look(t, faulty, s.ID), look(t, sound, s.ID)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("machine (-sound +faulty):\n%s", diff)
			}
			if diff := cmp.Diff(changed(before[1], sound.Disks(s.ID)), changed(before[0], faulty.Disks(s.ID))); diff != "" {
				t.Fatalf("disks that changed (-sound +faulty):\n%s", diff)
			}
		}
		if v := ledger.Violations(); len(v) > 0 {
			t.Fatal(v)
		}
	})
}

func drawFaults(t *rapid.T) (rules []population.Fault) {
	for range rapid.IntRange(0, 5).Draw(t, "faults") {
		f := population.Fault{
			Op:          rapid.SampledFrom([]population.Op{population.Create, population.Delete, population.Power}).Draw(t, "op"),
			Effect:      rapid.SampledFrom([]population.Effect{population.Nothing, population.Full}).Draw(t, "effect"),
			Probability: rapid.Float64Range(.1, 1).Draw(t, "probability"),
			Count:       rapid.IntRange(1, 4).Draw(t, "count"),
			Kind:        resource.Unavailable,
		}
		if f.Op != population.Power && rapid.Bool().Draw(t, "half") {
			f.Effect = population.Half
		}
		rules = append(rules, f)
	}
	return rules
}

// drawStep draws one wish; it changes the spec where the wish is about it.
func drawStep(t *rapid.T, s *compute.Spec) func(d *sim.Driver) error {
	disposal := rapid.SampledFrom([]compute.Disposal{compute.All, compute.KeepData, compute.KeepDisks}).Draw(t, "disposal")
	wish := rapid.SampledFrom([]string{"create", "delete", "reimage", "restart", "stop"}).Draw(t, "wish")
	old := s.ID
	switch wish {
	case "reimage":
		s.ID.Disks++
	case "restart":
		s.Boots++
	}
	now := *s
	return func(d *sim.Driver) error {
		ctx, fence := t.Context(), compute.Fence{}
		switch wish {
		case "create":
			return d.Create(ctx, fence, now)
		case "reimage":
			if err := d.Delete(ctx, fence, old, compute.KeepData); err != nil {
				return err
			}
			return d.Create(ctx, fence, now)
		case "restart":
			return gentle(d.Power(ctx, fence, now.ID, compute.Power{Want: compute.Running, Boots: now.Boots}))
		case "stop":
			return gentle(d.Power(ctx, fence, now.ID, compute.Power{Want: compute.Stopped}))
		default:
			return d.Delete(ctx, fence, now.ID, disposal)
		}
	}
}

// gentle forgives a machine that is not there.
func gentle(err error) error {
	if resource.Is(err, resource.NotFound) {
		return nil
	}
	return err
}

// persist repeats a call; every rule is spent after a few.
func persist(t *rapid.T, call func() error) {
	var err error
	for range 100 {
		if err = call(); err == nil {
			return
		}
	}
	t.Fatalf("still failing: %v", err)
}

// look returns what is to be seen of a machine, times aside.
func look(t *rapid.T, d *sim.Driver, id compute.VMID) compute.VM {
	vm, err := d.Get(t.Context(), id)
	if gentle(err) != nil {
		t.Fatal(err)
	}
	vm.Since = time.Time{}
	return vm
}

// changed returns for each disk whether it is new since before.
func changed(before, after map[string]string) map[string]bool {
	c := map[string]bool{}
	for name := range maps.Keys(after) {
		c[name] = before[name] != after[name]
	}
	return c
}
