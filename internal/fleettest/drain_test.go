package fleettest_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/network"
)

// busy is a set of three behind a load balancer, each with established connections.
type busy struct {
	*lab
	uid    network.UID
	public netip.Addr
	cards  map[string]netip.Addr
}

// newBusy boots a fleet with such a set. drain is the pool's drain period in seconds;
// 0 leaves it out.
func newBusy(t *testing.T, drain int32) *busy {
	t.Helper()
	l := newLab(t)
	b := &busy{lab: l}
	b.uid, b.public = l.site(drain)
	l.ok("create", l.putSet("web", l.behind(3)))
	b.cards = l.addresses("web")
	for _, address := range b.cards {
		l.f.Fabric().Hold(b.uid, address, 2)
	}
	return b
}

// takers lists where new flows to the frontend end.
func (b *busy) takers() []netip.Addr {
	ends := map[netip.Addr]bool{}
	for port := range uint16(200) {
		ends[b.send(b.uid, netip.AddrPortFrom(client.Addr(), 40000+port), b.public, 80).To.Addr()] = true
	}
	return slices.SortedFunc(maps.Keys(ends), netip.Addr.Compare)
}

// explanation returns what is said about why things are as they are.
func (b *busy) explanation() string {
	b.Helper()
	text, err := b.f.Get(b.ctx, "/subscriptions/"+b.f.Subscription()+"/resourceGroups/lab/providers/Microsoft.Compute/virtualMachineScaleSets/web/providers/Muster.Fleet/explanations?api-version=2026-11-01")
	b.ok("explanations", err)
	return text
}

// drains expects the set to have n members and three machines, and to say that
// instances drain, until d after the beginning.
func (b *busy) drains(n int, began time.Time, d time.Duration) {
	b.Helper()
	synctest.Wait()
	if got := b.takers(); len(got) != n || b.f.Machines() != 3 {
		b.Errorf("%s after the beginning there are %d machines, and new flows end at %v, want 3 and %d", time.Since(began), b.f.Machines(), got, n)
	}
	if text := b.explanation(); !strings.Contains(text, "Connections by load balancers drain, until "+began.Add(d).UTC().Format("2006-01-02T15:04:05")) {
		b.Errorf("nobody says that an instance drains until %s: %s", began.Add(d).UTC(), text)
	}
}

// release ends the connections of all cards.
func (b *busy) release() {
	for _, address := range b.cards {
		b.f.Fabric().Hold(b.uid, address, 0)
	}
}

// took checks how long an operation took, up to the time that a machine needs to go.
func (b *busy) took(began time.Time, least time.Duration) {
	b.Helper()
	if took := time.Since(began); took < least || took > least+15*time.Second {
		b.Errorf("it took %s, want %s and what a shutdown takes", took, least)
	}
}

func TestAnInstanceDrainsForAsLongAsItsPoolSays(t *testing.T) {
	for name, test := range map[string]struct {
		drain int32
		want  time.Duration
	}{"the server's default": {0, 30 * time.Second}, "the pool's": {300, 300 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBusy(t, test.drain)
				began := time.Now()
				p, err := b.c.Sets.BeginCreateOrUpdate(b.ctx, "lab", "web", fleettest.Capacity(2), nil)
				b.ok("scale in", err)
				time.Sleep(test.want - 5*time.Second)
				b.drains(2, began, test.want)
				_, err = end(p, nil)
				b.ok("scale in", err)
				b.took(began, test.want)
				if got := b.addresses("web"); len(got) != 2 || b.f.Machines() != 2 {
					t.Errorf("there are %d machines, with the cards %v", b.f.Machines(), got)
				}
			})
		})
	}
}

func TestAnInstanceIsDrainedWhenItsConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy(t, 300)
		began := time.Now()
		p, err := b.c.Sets.BeginCreateOrUpdate(b.ctx, "lab", "web", fleettest.Capacity(2), nil)
		b.ok("scale in", err)
		time.Sleep(time.Minute)
		b.drains(2, began, 300*time.Second)
		b.release()
		_, err = end(p, nil)
		b.ok("scale in", err)
		b.took(began, time.Minute)
	})
}

// TestWhoIsInAHurryDoesNotWaitForConnections forces a deletion, and turns a machine
// off without asking its guest.
func TestWhoIsInAHurryDoesNotWaitForConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy(t, 300)
		began := time.Now()
		_, err := end(b.c.VMs.BeginDelete(b.ctx, "lab", "web", "0", &armcompute.VirtualMachineScaleSetVMsClientBeginDeleteOptions{ForceDeletion: new(true)}))
		b.ok("force delete", err)
		b.took(began, 0)
		began = time.Now()
		_, err = end(b.c.VMs.BeginPowerOff(b.ctx, "lab", "web", "1", &armcompute.VirtualMachineScaleSetVMsClientBeginPowerOffOptions{SkipShutdown: new(true)}))
		b.ok("power off", err)
		b.took(began, 0)
		if got := b.takers(); !slices.Equal(got, []netip.Addr{b.cards["2"]}) {
			t.Errorf("new flows end at %v, want those of instance 2 alone", got)
		}
	})
}

// TestWhoGoesOnlyForAWhileDrainsToo restarts and reimages an instance that has
// connections.
func TestWhoGoesOnlyForAWhileDrainsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy(t, 60)
		for step, begin := range map[string]func() (func() error, error){
			"restart": func() (func() error, error) {
				p, err := b.c.VMs.BeginRestart(b.ctx, "lab", "web", "0", nil)
				return finish(p), err
			},
			"reimage": func() (func() error, error) {
				p, err := b.c.VMs.BeginReimage(b.ctx, "lab", "web", "0", nil)
				return finish(p), err
			},
		} {
			b.f.Fabric().Hold(b.uid, b.cards["0"], 1)
			began := time.Now()
			wait, err := begin()
			b.ok(step, err)
			time.Sleep(50 * time.Second)
			b.drains(2, began, time.Minute)
			b.ok(step, wait())
			if took := time.Since(began); took < time.Minute {
				t.Errorf("%s took %s, less than the connections were given", step, took)
			}
			if got := b.takers(); len(got) != 3 {
				t.Errorf("after %s, new flows end at %v alone", step, got)
			}
		}
	})
}

func finish[T any](p *runtime.Poller[T]) func() error {
	return func() error { _, err := end(p, nil); return err }
}
