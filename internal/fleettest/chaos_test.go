package fleettest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// budget holds every set to the law: its rows in any state never exceed the
// highest capacity that it was ever given.
type budget struct {
	mu     sync.Mutex
	most   map[vmss.UID]int
	broken []string
}

// watch follows the store until ctx is done.
func (b *budget) watch(ctx context.Context, t *testing.T, f *fleettest.Fleet) {
	b.most = map[vmss.UID]int{}
	session := f.Session()
	s, err := store.Open(ctx, session, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	store.OnChange(s, store.ScaleSets, func(k vmss.Key) {
		if e, ok := store.Get(s, store.ScaleSets, k); ok {
			b.mu.Lock()
			b.most[e.Value.UID] = max(b.most[e.Value.UID], e.Value.SKU.Capacity)
			b.mu.Unlock()
		}
	})
	store.OnChange(s, store.Instances, func(k vmss.InstanceKey) {
		rows := s.Tally(k.Set).Rows
		b.mu.Lock()
		defer b.mu.Unlock()
		if rows > b.most[k.Set] {
			b.broken = append(b.broken, fmt.Sprintf("set %s has %d rows, and never wanted more than %d", k.Set, rows, b.most[k.Set]))
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { wg.Wait(); session.Close() })
}

// addresses holds the network to the law that no two cards have one address at a
// time: an address is free once its card is gone.
type addresses struct {
	fleettest.Fabric
	mu     sync.Mutex
	cards  map[fabric.Port]string // by all but the name
	broken []string
}

// Attach implements fabric.Fabric.
func (a *addresses) Attach(ctx context.Context, port fabric.Port) (fabric.Lease, error) {
	if port.Network == "" {
		return a.Fabric.Attach(ctx, port)
	}
	at := fabric.Port{Network: port.Network, Address: port.Address}
	a.mu.Lock()
	defer a.mu.Unlock()
	if other, taken := a.cards[at]; taken && other != port.Name {
		a.broken = append(a.broken, fmt.Sprintf("%s and %s both have %s", other, port.Name, at.Address))
	}
	a.cards[at] = port.Name
	return a.Fabric.Attach(ctx, port)
}

// Detach implements fabric.Fabric.
func (a *addresses) Detach(ctx context.Context, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.cards, func(_ fabric.Port, has string) bool { return has == name })
	return a.Fabric.Detach(ctx, name)
}

// over is the law over a fabric; it outlives the control plane.
func (a *addresses) over(f fleettest.Fabric) fleettest.Fabric {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Fabric == nil {
		a.Fabric, a.cards = f, map[fabric.Port]string{}
	}
	return a
}

// faulty is a fleet whose drivers fail in every way, for a while.
func faulty(seed uint64) population.Population {
	p := population.Default()
	p.Seed = seed
	p.Boot = population.Boot{Base: 5 * time.Second, Jitter: 3 * time.Second, Shutdown: 2 * time.Second}
	for _, op := range []population.Op{population.Create, population.Delete, population.Power} {
		for _, effect := range []population.Effect{population.Nothing, population.Half, population.Full} {
			if op == population.Power && effect == population.Half {
				continue
			}
			p.Faults = append(p.Faults, population.Fault{Op: op, Probability: 0.1, Count: 15, Effect: effect, Kind: resource.Unavailable, Message: "The host did not answer."})
		}
	}
	p.Faults = append(p.Faults, population.Fault{Op: population.NoBoot, Probability: 0.1, Count: 10, Kind: resource.Internal, Message: "The guest panicked."},
		population.Fault{Op: population.List, Probability: 0.2, Count: 5, Kind: resource.Unavailable, Message: "The host did not answer."})
	return p
}

// user does random things to one set, made of a model, and returns the capacity that it shall
// have in the end. Errors are a user's life; what counts is how it ends.
func user(ctx context.Context, c *fleettest.Client, name string, model func(n int64) armcompute.VirtualMachineScaleSet, r *rand.Rand) (capacity int64) {
	put := func(set armcompute.VirtualMachineScaleSet) {
		for ctx.Err() == nil {
			if _, err := c.Sets.BeginCreateOrUpdate(ctx, "lab", name, set, nil); err == nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	capacity = int64(1 + r.IntN(6))
	put(model(capacity))
	for range 12 {
		time.Sleep(time.Duration(r.IntN(20_000)) * time.Millisecond)
		some := &armcompute.VirtualMachineScaleSetVMInstanceIDs{InstanceIDs: []*string{new(fmt.Sprint(r.IntN(8)))}}
		switch r.IntN(6) {
		case 0, 1:
			capacity = int64(r.IntN(8))
			put(fleettest.Capacity(capacity))
		case 2:
			_, _ = c.Sets.BeginRestart(ctx, "lab", name, nil)
		case 3:
			_, _ = c.Sets.BeginReimage(ctx, "lab", name, nil)
		case 4:
			_, _ = c.Sets.BeginDeallocate(ctx, "lab", name, &armcompute.VirtualMachineScaleSetsClientBeginDeallocateOptions{VMInstanceIDs: some})
		case 5:
			_, _ = c.Sets.BeginPowerOff(ctx, "lab", name, &armcompute.VirtualMachineScaleSetsClientBeginPowerOffOptions{VMInstanceIDs: some})
		}
	}
	capacity = int64(r.IntN(8))
	put(fleettest.Capacity(capacity))
	for ctx.Err() == nil {
		if _, err := c.Sets.BeginStart(ctx, "lab", name, nil); err == nil {
			return capacity
		}
		time.Sleep(time.Second)
	}
	return capacity
}

// TestWhateverFailsTheFleetEndsAsAskedAndKeepsToItsBudget lets several users work
// on their sets at once while hosts fail and the control plane is restarted
// under them. When the faults are over, every set is what its user asked last. Half of
// the sets are behind a load balancer.
// MUSTER_SEEDS=1000 tries more of them.
func TestWhateverFailsTheFleetEndsAsAskedAndKeepsToItsBudget(t *testing.T) {
	seeds := uint64(20)
	if more, err := strconv.ParseUint(os.Getenv("MUSTER_SEEDS"), 10, 32); err == nil {
		seeds = more
	}
	first := uint64(0)
	if one, err := strconv.ParseUint(os.Getenv("MUSTER_SEED"), 10, 32); err == nil {
		first, seeds = one, one+1
	}
	for seed := first; seed < seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour) // of the fleet's time
	defer cancel()
	var once addresses
	f := fleettest.Boot(t, fleettest.Options{Population: faulty(seed), Fabric: once.over})
	c := f.Client(t)
	l := &lab{T: t, ctx: ctx, f: f, c: c}
	l.ok("group", l.createGroup())
	l.site(0)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var law budget
	law.watch(watching, t, f)

	want := make([]int64, 4)
	var users sync.WaitGroup
	for i := range want {
		model := fleettest.Model
		if wired(i) {
			model = l.behind
		}
		users.Go(func() { want[i] = user(ctx, c, fmt.Sprint("set", i), model, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	r := rand.New(rand.NewPCG(seed, 99))
	for range 3 {
		time.Sleep(time.Duration(r.IntN(60)) * time.Second)
		f.Stop()
		time.Sleep(time.Duration(r.IntN(5)) * time.Second)
		if err := f.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	users.Wait()
	time.Sleep(6 * time.Hour) // for back-offs and breakers
	total, inside := 0, 0
	for i := range want {
		if err := settled(ctx, c, fmt.Sprint("set", i), int(want[i])); err != nil {
			t.Error(err)
		}
		total += int(want[i])
		if wired(i) {
			inside += int(want[i])
		}
	}
	if n := f.Machines(); n != total {
		t.Errorf("there are %d machines for %d instances", n, total)
	}
	if a, p := l.reserved("net:"), l.reserved("lb:"); len(a) != inside || len(p) != inside {
		t.Errorf("%d instances in the network have addresses %v and ports %v", inside, a, p)
	}
	l.ok("delete", l.deleteGroup())
	l.nothing()
	for _, v := range append(law.broken, once.broken...) {
		t.Error(v)
	}
}

// wired reports whether a set is in the virtual network.
func wired(i int) bool { return i%2 == 1 }

// settled checks that a set is well and has the capacity that was asked for.
func settled(ctx context.Context, c *fleettest.Client, name string, want int) error {
	all, err := c.Instances(ctx, "lab", name)
	if err != nil {
		return err
	}
	if got := powers(all); got["Succeeded running"] != want || len(all) != want {
		return fmt.Errorf("%s: instances %v, want %d running", name, got, want)
	}
	set, err := c.Sets.Get(ctx, "lab", name, nil)
	if err != nil {
		return err
	}
	if *set.SKU.Capacity != int64(want) {
		err = errors.New(name + " has another capacity than was asked for")
	}
	return err
}
