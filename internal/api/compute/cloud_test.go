package compute_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/api/compute"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/reconcile/set"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

const (
	subscription = "11111111-1111-1111-1111-111111111111"
	inSub        = "/subscriptions/" + subscription
	inCompute    = inSub + "/providers/Microsoft.Compute"
	inGroup      = inSub + "/resourceGroups/rg1/providers/Microsoft.Compute/virtualMachineScaleSets"
	web          = inGroup + "/web"
)

// cloud is the API over a store in memory, with the real set reconciler, which
// works when it is told to, and with hosts that the test plays.
type cloud struct {
	t      *testing.T
	api    *compute.API
	store  *store.Store
	images *images
	rec    *set.Reconciler
	h      http.Handler
}

// everyone lets everyone in.
type everyone struct{}

func (everyone) Authenticate(string) (access.Principal, error) {
	return access.Principal{ObjectID: "me"}, nil
}
func (everyone) Authorize(access.Principal, string, string) error { return nil }

// images knows Canonical's jammy.
type images struct {
	mu     sync.Mutex
	latest string // version
}

func (i *images) Resolve(ref vmss.Image) (vmss.Image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !strings.EqualFold(ref.Offer, "jammy") {
		return ref, resource.Errorf(resource.NotFound, "ImageNotFound", "There is no image %s%s.", ref.URN(), ref.ID)
	}
	ref.Exact = ref.Version
	if ref.Version == "latest" {
		ref.Exact = i.latest
	}
	ref.Digest, ref.OSType, ref.SizeGB = "sha256:"+ref.Exact, "Linux", 30
	return ref, nil
}
func (*images) Publishers() []string                     { return nil }
func (*images) Offers(string) []string                   { return nil }
func (*images) SKUs(string, string) []string             { return nil }
func (*images) Versions(string, string, string) []string { return nil }

func newCloud(t *testing.T) *cloud {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s, err := store.Open(ctx, memstore.New().Open(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	c := &cloud{t: t, store: s, images: &images{latest: "1.0"}}
	c.rec = &set.Reconciler{Store: s, Size: vmss.SizeNamed, Check: true, Log: slog.New(slog.DiscardHandler),
		Hosts: func() []vmss.Host {
			return []vmss.Host{{Name: "h", Zones: []string{"1", "2", "3"}, Domains: 5, VCPUs: 64, MemoryMB: 1 << 20}}
		}}
	c.api = &compute.API{Store: s, Images: c.images, Group: c.group, Explain: c.rec.Explain, Subscription: subscription,
		Locations: []string{"local", "eastus"}, Zones: []string{"1", "2", "3"}, MaxCapacity: 1000, Quotas: map[string]int{}}
	c.h, err = arm.NewServer(c.api.Routes(), everyone{}, everyone{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.putGroup(resource.Group{Subscription: subscription, Name: "RG1", Location: "local"})
	c.putNetwork(vnet("v", "local", "s"))
	return c
}

func (c *cloud) putGroup(g resource.Group) {
	c.t.Helper()
	c.commit(store.Put(store.Groups, store.GroupKeyOf(g.Subscription, g.Name), g))
}

// putNetwork writes a resource of Microsoft.Network as its API would.
func (c *cloud) putNetwork(r network.Resource) {
	c.t.Helper()
	c.commit(store.Put(store.Networks, r.Key(), r))
}

// vnet is a virtual network in rg1 with these subnets.
func vnet(name, location string, subnets ...string) network.Resource {
	v := &network.VirtualNetwork{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	for i, s := range subnets {
		v.Subnets = append(v.Subnets, network.Subnet{Name: s, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)})
	}
	return network.Resource{ID: inNetwork(network.VirtualNetworkKind, name), UID: network.UID("uid-" + name), Kind: network.VirtualNetworkKind, Location: location, VirtualNetwork: v}
}

func inNetwork(kind network.Kind, name string) resource.ID {
	return resource.In(subscription, "rg1", "Microsoft.Network", string(kind), name)
}

func (c *cloud) commit(changes ...store.Change) {
	c.t.Helper()
	if _, err := c.store.Commit(context.Background(), changes...); err != nil {
		c.t.Fatal(err)
	}
}

// group answers as Microsoft.Resources does.
func (c *cloud) group(_ context.Context, subscription, name string) (resource.Group, error) {
	e, ok := store.Get(c.store, store.Groups, store.GroupKeyOf(subscription, name))
	if !ok {
		return resource.Group{}, resource.Errorf(resource.NotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
	}
	if e.Value.Deleting {
		return *e.Value, resource.Errorf(resource.Conflict, "ResourceGroupBeingDeleted", "The resource group '%s' is in deprovisioning state.", name)
	}
	return *e.Value, nil
}

// answer is what the API said.
type answer struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// ask sends a request; header is a list of names and values.
func (c *cloud) ask(method, target, body string, header ...string) answer {
	c.t.Helper()
	if !strings.Contains(target, "api-version=") {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		target += sep + "api-version=2024-07-01"
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return answer{w, c.t}
}

// must is ask for requests that are part of the setting.
func (c *cloud) must(status int, method, target, body string, header ...string) answer {
	c.t.Helper()
	a := c.ask(method, target, body, header...)
	if a.Code != status {
		c.t.Fatalf("%s %s %s: got %d %s, want %d", method, target, body, a.Code, a.Body, status)
	}
	return a
}

// at returns the member at a dotted path of the answer.
func (a answer) at(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil {
		a.t.Fatalf("%q: %v", a.Body, err)
	}
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// text is at for strings, and empty if there is none.
func (a answer) text(path string) string {
	a.t.Helper()
	s, _ := a.at(path).(string)
	return s
}

// set returns the stored document of a set in rg1.
func (c *cloud) set(name string) store.Entry[vmss.ScaleSet] {
	c.t.Helper()
	e, ok := store.Get(c.store, store.ScaleSets, vmss.NewKey(subscription, "rg1", name))
	if !ok {
		c.t.Fatalf("there is no scale set %s", name)
	}
	return e
}

// model returns the newest model of a set in rg1.
func (c *cloud) model(name string) vmss.Revision {
	c.t.Helper()
	doc := c.set(name).Value
	e, ok := store.Get(c.store, store.Revisions, vmss.RevisionKey{Set: doc.UID, Number: doc.Revision})
	if !ok {
		c.t.Fatalf("scale set %s has no revision %d", name, doc.Revision)
	}
	return *e.Value
}

// settle lets the reconciler plan and the hosts carry everything out, until a
// set in rg1 is as its document wants it.
func (c *cloud) settle(name string) {
	c.t.Helper()
	uid := c.set(name).Value.UID
	for range 5 {
		if _, err := c.rec.Reconcile(context.Background(), uid); err != nil {
			c.t.Fatal(err)
		}
		for _, rec := range c.store.Instances(uid, -1, 0) {
			row := rec.Row.Value
			seen := vmss.Observation{Generation: row.Generation, Power: row.Power, Boots: row.Boots, Disks: row.Disks, DataDisks: row.DataDisks,
				Provisioned: row.Created, Revision: row.Revision, Gone: row.Deleting}
			c.commit(store.Put(store.Observations, vmss.InstanceKey{Set: uid, ID: row.ID}, seen))
		}
	}
}

// end ends the open operations of a set in rg1.
func (c *cloud) end(name string, status vmss.OperationStatus, failure *vmss.OperationError) {
	c.t.Helper()
	for _, op := range c.store.OpenOperations(c.set(name).Value.UID) {
		c.commit(store.Put(store.Outcomes, op.Key(), vmss.Outcome{Status: status, Finished: time.Unix(1e9, 0).UTC(), Error: failure}))
	}
}

// body is that of a PUT that creates a set; edits are pairs of a dotted path and
// its JSON value, or "" to leave it out.
func body(t *testing.T, edits ...string) string {
	t.Helper()
	const plain = `{"location":"local","sku":{"name":"Standard_B1s","capacity":2},"properties":{"upgradePolicy":{"mode":"Manual"},"virtualMachineProfile":{
 "osProfile":{"computerNamePrefix":"web","adminUsername":"azureuser","adminPassword":"Passw0rd!","customData":"aGk="},"userData":"dXNlcg==",
 "storageProfile":{"imageReference":{"publisher":"Canonical","offer":"jammy","sku":"22_04-lts","version":"latest"},"osDisk":{"createOption":"FromImage"}},
 "networkProfile":{"networkInterfaceConfigurations":[{"name":"nic","properties":{"primary":true,"ipConfigurations":[{"name":"ip","properties":{"subnet":{"id":"` + inSub +
		`/resourceGroups/rg1/providers/Microsoft.Network/virtualNetworks/v/subnets/s"}}}]}}]}}}}`
	var doc map[string]any
	if err := json.Unmarshal([]byte(plain), &doc); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		at, path := doc, strings.Split(edits[i], ".")
		for _, name := range path[:len(path)-1] {
			next, ok := at[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[name] = next
			}
			at = next
		}
		last := path[len(path)-1]
		if edits[i+1] == "" {
			delete(at, last)
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(edits[i+1]), &v); err != nil {
			t.Fatalf("%s: %v", edits[i+1], err)
		}
		at[last] = v
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// code returns what an error answer says.
func (a answer) code() string { return a.text("error.code") }
