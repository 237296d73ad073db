package drivertest

import (
	"testing"
	"testing/synctest"

	"github.com/muster-vm/muster/internal/host/compute"
)

// Run checks a driver. Each call of open must return a driver without machines;
// what it opens, it cleans up with t.Cleanup. It is called once if the fixture
// is Expensive and once per test if not.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	first := newBench(t, open)
	if first.Expensive {
		story(first)
		return
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) { alone(newBench(t, open), s) })
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.do(newBench(t, open)) })
	}
}

// RunVirtual is Run for a driver that lives in virtual time: each test is its
// own synctest bubble, in which open is called too.
func RunVirtual(t *testing.T, open func(t *testing.T) Fixture) {
	bubble := func(name string, do func(b *bench)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { do(newBench(t, open)) })
		})
	}
	for _, s := range steps {
		bubble(s.name, func(b *bench) { alone(b, s) })
	}
	for _, c := range cases {
		bubble(c.name, c.do)
	}
}

// A step starts and ends with a running machine and may change its spec. Steps
// boot as little as they can.
type step struct {
	name string
	do   func(b *bench, spec *compute.Spec)
}

// A test of the suite that starts without machines.
type testCase struct {
	name string
	do   func(b *bench)
}

// alone runs one step on a machine of its own.
func alone(b *bench, s step) {
	spec := b.Spec(0)
	b.running(spec)
	s.do(b, &spec)
	last(b, spec)
}

// story runs all steps one after another on one machine: five boots in all.
func story(b *bench) {
	nothing(b)
	spec := b.Spec(0)
	b.running(spec)
	whole := b.T
	for _, s := range steps {
		ok := whole.Run(s.name, func(t *testing.T) {
			b.T = t
			s.do(b, &spec)
		})
		b.T = whole
		if !ok {
			whole.Fatalf("%s failed; the steps after it need its outcome", s.name)
		}
	}
	neighbour(b)
	last(b, spec)
}

// last deletes the machine: nothing is left, and deleting again is well.
func last(b *bench, spec compute.Spec) {
	b.Helper()
	b.remove(spec.ID, compute.All)
	b.remove(spec.ID, compute.All)
	if left := b.disks(spec.ID); len(left) > 0 {
		b.Errorf("disks left behind by a full deletion: %v", left)
	}
	nothing(b)
}
