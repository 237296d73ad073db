// Package network carries the resources of Microsoft.Network out: it gathers what
// there is in a virtual network, has network.Compile say what its packets may do,
// and has the fabric do that. It holds no policy.
package network

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Fabric carries virtual networks; see host/fabric.Networks.
type Fabric interface {
	// Apply makes a virtual network be what the program says.
	Apply(ctx context.Context, p noun.Program) error
	// Remove removes a virtual network with everything in it.
	Remove(ctx context.Context, uid noun.UID) error
	// Networks lists the virtual networks that are there.
	Networks(ctx context.Context) ([]noun.UID, error)
}

// Prober asks members of load balancers whether they are well.
type Prober interface {
	// Watch says which members of a virtual network to ask; nil for none.
	Watch(uid noun.UID, targets []noun.Target)
	// Healthy returns the last answer; known is false before the first.
	Healthy(t noun.Target) (well, known bool)
	// Probed tells what is known of a target, for people.
	Probed(t noun.Target) noun.Probed
	// Known reports whether every target of the network was asked.
	Known(uid noun.UID) bool
}

// Options is what a Reconciler is made of.
type Options struct {
	Store  *store.Store
	Fabric Fabric
	Prober Prober       // nil where nothing is there to ask: what runs counts as well
	Fence  store.Change // what every commit depends on: the lease of the control plane
	Log    *slog.Logger
}

// Reconciler carries networks out. Make one with New.
type Reconciler struct {
	Options
	mu      sync.Mutex
	nets    map[noun.UID]*settled
	adopted map[noun.UID]bool // networks that the fabric had before this process; nil before it was asked
}

// settled is what is known of a virtual network that was applied.
type settled struct {
	busy    chan struct{}     // holds one token while somebody applies
	waiting *turn             // the next application, which covers whoever waits
	program *noun.Program     // what the fabric carries; nil before the first time
	uses    map[noun.Key]bool // what was looked at
}

// turn is one application that somebody waits for.
type turn struct {
	done chan struct{}
	err  error
}

// New returns a reconciler.
func New(o Options) *Reconciler {
	return &Reconciler{Options: o, nets: map[noun.UID]*settled{}}
}

// Reconcile brings the virtual networks that a resource concerns up to date, ends
// the operations on it, and removes it if it is to go.
func (r *Reconciler) Reconcile(ctx context.Context, key noun.Key) (time.Time, error) {
	e, ok := store.Get(r.Store, store.Networks, key)
	if !ok {
		return time.Time{}, nil
	}
	open := r.Store.OpenOperations(vmss.UID(e.Value.UID)) // before the look: what comes later is not carried out yet
	err := r.settleAll(ctx, *e.Value)
	if ctx.Err() != nil {
		return time.Time{}, nil //nolint:nilerr // shutting down
	}
	if err != nil {
		r.Log.WarnContext(ctx, "network", "resource", e.Value.ID.String(), "err", err)
	}
	if err == nil && e.Value.Deleting {
		gone, err := r.remove(ctx, e, open)
		if gone || err != nil {
			return time.Time{}, err
		}
		return time.Now().Add(waitForCards), nil
	}
	return time.Time{}, cmp.Or(r.end(ctx, *e.Value, open, err), err)
}

// waitForCards is how soon a network that is to go is looked at again while
// instances are in it; their going also wakes it.
const waitForCards = 5 * time.Second

// settleAll applies the virtual networks that a resource concerns.
func (r *Reconciler) settleAll(ctx context.Context, res noun.Resource) error {
	if res.Kind == noun.VirtualNetworkKind {
		if res.Deleting {
			return nil
		}
		return r.Settle(ctx, res.UID)
	}
	for _, e := range store.All(r.Store, store.Networks) {
		v := e.Value
		if v.Kind != noun.VirtualNetworkKind || v.Deleting || !r.concerns(*v, res.Key()) {
			continue
		}
		if err := r.Settle(ctx, v.UID); err != nil {
			return err
		}
	}
	return nil
}

// concerns reports whether what a virtual network's packets may do depends, or did
// depend, on a resource.
func (r *Reconciler) concerns(v noun.Resource, key noun.Key) bool {
	r.mu.Lock()
	known := r.nets[v.UID]
	before := known != nil && known.uses[key]
	r.mu.Unlock()
	return before || uses(r.look(v))[key]
}

// Settle returns when everything that was committed before the call is applied to
// the virtual network. Calls that wait for each other share one application. nil
// for a network that is not there.
func (r *Reconciler) Settle(ctx context.Context, uid noun.UID) error {
	r.mu.Lock()
	s := r.nets[uid]
	if s == nil {
		s = &settled{busy: make(chan struct{}, 1)}
		r.nets[uid] = s
	}
	t, leads := s.waiting, s.waiting == nil
	if leads {
		t = &turn{done: make(chan struct{})}
		s.waiting = t
	}
	r.mu.Unlock()
	if leads {
		s.busy <- struct{}{} // at most as long as one application
		r.mu.Lock()
		s.waiting = nil
		r.mu.Unlock()
		t.err = r.apply(context.WithoutCancel(ctx), uid, s)
		<-s.busy
		close(t.done)
		return t.err
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return resource.Errorf(resource.Canceled, "", "The wait for virtual network %s was given up.", uid).Because(ctx.Err())
	}
}

// maxFirst bounds how long a network that outlived the last server is left as it
// is while its members are asked for the first time.
const maxFirst = 2 * time.Second

// apply compiles the network and has the fabric carry it out, if that is news.
func (r *Reconciler) apply(ctx context.Context, uid noun.UID, s *settled) error {
	e, ok := r.Store.NetworkByUID(uid)
	if !ok {
		return nil
	}
	w := r.look(*e.Value)
	p := noun.Compile(w)
	if r.Prober != nil {
		r.Prober.Watch(uid, p.Targets)
		if s.program == nil && r.outlived(ctx, uid) {
			r.firstAnswers(uid)
			p = noun.Compile(w)
		}
	}
	if s.program != nil && reflect.DeepEqual(*s.program, p) {
		r.note(s, s.program, uses(w))
		return nil
	}
	if err := r.Fabric.Apply(ctx, p); err != nil {
		r.note(s, nil, uses(w))
		return err
	}
	r.tell(ctx, s.program, p)
	r.note(s, &p, uses(w))
	return nil
}

func (r *Reconciler) note(s *settled, p *noun.Program, uses map[noun.Key]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.program, s.uses = p, uses
}

// outlived reports whether the fabric had the network before this process began.
func (r *Reconciler) outlived(ctx context.Context, uid noun.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.adopted == nil {
		there, err := r.Fabric.Networks(ctx)
		if err != nil {
			r.Log.WarnContext(ctx, "list the virtual networks of the host", "err", err)
		}
		r.adopted = map[noun.UID]bool{}
		for _, uid := range there {
			r.adopted[uid] = true
		}
	}
	return r.adopted[uid]
}

// firstAnswers waits until every member was asked once: what the kernel does
// meanwhile is what it did for the server before.
func (r *Reconciler) firstAnswers(uid noun.UID) {
	for end := time.Now().Add(maxFirst); !r.Prober.Known(uid) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
}

// tell logs which members came to services and left them.
func (r *Reconciler) tell(ctx context.Context, before *noun.Program, now noun.Program) {
	was := map[string][]string{}
	if before != nil {
		was = members(*before)
	}
	for service, is := range members(now) {
		if before == nil || strings.Join(was[service], " ") != strings.Join(is, " ") {
			r.Log.InfoContext(ctx, "load balancer", "network", now.Name, "service", service, "members", is)
		}
	}
}

func members(p noun.Program) map[string][]string {
	all := map[string][]string{}
	for _, s := range p.Services {
		name := string(s.Balancer) + "/" + s.Rule
		all[name] = []string{}
		for _, m := range s.Members {
			all[name] = append(all[name], m.String())
		}
	}
	return all
}

// Program returns what a virtual network's packets may do by what is committed now.
// It fails with NotFound if there is no such network.
func (r *Reconciler) Program(key noun.Key) (noun.Program, error) {
	e, ok := store.Get(r.Store, store.Networks, key)
	if !ok || e.Value.Kind != noun.VirtualNetworkKind {
		return noun.Program{}, resource.Errorf(resource.NotFound, "ResourceNotFound", "There is no virtual network '%s' in resource group '%s'.", key.Name, key.Group)
	}
	return noun.Compile(r.look(*e.Value)), nil
}

// Members returns how the members of a load balancer do by what is committed now. It
// fails with NotFound if there is no such balancer.
func (r *Reconciler) Members(key noun.Key) (all []noun.Membership, err error) {
	b, ok := store.Get(r.Store, store.Networks, key)
	if !ok || b.Value.LoadBalancer == nil {
		return nil, resource.Errorf(resource.NotFound, "ResourceNotFound", "There is no load balancer '%s' in resource group '%s'.", key.Name, key.Group)
	}
	var probed func(noun.Target) noun.Probed
	if r.Prober != nil {
		probed = r.Prober.Probed
	}
	for _, e := range store.All(r.Store, store.Networks) {
		if e.Value.Kind == noun.VirtualNetworkKind && !e.Value.Deleting {
			all = append(all, noun.Compile(r.look(*e.Value)).Memberships(b.Value.UID, probed)...)
		}
	}
	return all, nil
}

// Applied returns what the fabric carries of each virtual network.
func (r *Reconciler) Applied() (all []noun.Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.nets {
		if s.program != nil {
			all = append(all, *s.program)
		}
	}
	return all
}
