package network_test

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
	"github.com/muster-vm/muster/internal/api/network"
	"github.com/muster-vm/muster/internal/arm"
	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

const (
	subscription = "11111111-1111-1111-1111-111111111111"
	inSub        = "/subscriptions/" + subscription
	inGroup      = inSub + "/resourceGroups/rg1/providers/Microsoft.Network"
	vnet         = inGroup + "/virtualNetworks/vn"
	nsg          = inGroup + "/networkSecurityGroups/nsg"
	setUID       = "22222222-2222-2222-2222-222222222222"
)

// cloud is the API over a store in memory. Nobody carries out what is asked, but
// for settle.
type cloud struct {
	t     *testing.T
	api   *network.API
	store *store.Store
	h     http.Handler
}

// everyone lets everyone in.
type everyone struct{}

func (everyone) Authenticate(string) (access.Principal, error) {
	return access.Principal{ObjectID: "me"}, nil
}
func (everyone) Authorize(access.Principal, string, string) error { return nil }

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
	c := &cloud{t: t, store: s}
	c.api = &network.API{Store: s, Group: c.group, Subscription: subscription, Locations: []string{"local", "eastus"}, Zones: []string{"1", "2", "3"},
		Public: netip.MustParsePrefix("198.51.100.0/29")}
	if c.h, err = arm.NewServer(c.api.Routes(), everyone{}, everyone{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"RG1", "rg2"} {
		c.commit(store.Put(store.Groups, store.GroupKeyOf(subscription, name), resource.Group{Subscription: subscription, Name: name, Location: "local"}))
	}
	return c
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
	return *e.Value, nil
}

// settle does what the reconciler of networks does: it ends operations, and removes
// what is being deleted with what was given out to it.
func (c *cloud) settle() {
	c.t.Helper()
	for _, e := range store.All(c.store, store.Networks) {
		for _, op := range c.store.OpenOperations(vmss.UID(e.Value.UID)) {
			c.commit(store.Put(store.Outcomes, op.Key(), vmss.Outcome{Status: vmss.OperationSucceeded, Finished: time.Unix(1e9, 0).UTC()}))
		}
		if e.Value.Deleting {
			c.commit(store.Delete(store.Networks, e.Value.Key(), store.At(e.Revision)))
			c.giveBack(e.Value.ID.Key())
		}
	}
}

// giveBack removes what is reserved by ids with the prefix in the spaces that the
// tests use.
func (c *cloud) giveBack(prefix string) {
	c.t.Helper()
	spaces := []noun.Space{noun.PublicSpace}
	for _, e := range store.All(c.store, store.Networks) {
		spaces = append(spaces, noun.AddressSpace(e.Value.UID))
	}
	for _, space := range spaces {
		for name, r := range c.store.Reserved(space) {
			if strings.HasPrefix(r.Value.By, prefix) {
				c.commit(store.Delete(store.Reservations, noun.ReservationKey{Space: space, Name: name}, store.Any))
			}
		}
	}
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
		target += sep + "api-version=2022-01-01"
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

// must is ask for requests that are part of the setting; it settles.
func (c *cloud) must(status int, method, target, body string, header ...string) answer {
	c.t.Helper()
	a := c.ask(method, target, body, header...)
	if a.Code != status {
		c.t.Fatalf("%s %s %s: got %d %s, want %d", method, target, body, a.Code, a.Body, status)
	}
	c.settle()
	return a
}

// refused asks and wants an error with this status, code and target.
func (c *cloud) refused(status int, code, target, method, path, body string, header ...string) {
	c.t.Helper()
	a := c.ask(method, path, body, header...)
	if a.Code != status || a.text("error.code") != code || a.text("error.target") != target {
		c.t.Errorf("%s %s %s: got %d %s, want %d %s at %q", method, path, body, a.Code, a.Body, status, code, target)
	}
}

// at returns the member at a dotted path of the answer; numbers are indices.
func (a answer) at(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil {
		a.t.Fatalf("%q: %v", a.Body, err)
	}
	for name := range strings.SplitSeq(path, ".") {
		if list, ok := v.([]any); ok && len(name) == 1 && name[0] >= '0' && int(name[0]-'0') < len(list) {
			v = list[name[0]-'0']
			continue
		}
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

// network is the body of a virtual network with one subnet of 10.0.0.0/24, with
// these properties in addition.
func subnetBody(extra string) string {
	return `{"location":"local","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"sn","properties":{"addressPrefix":"10.0.0.0/24"` + extra + `}}]}}`
}

// scaleSet stores a scale set whose one instance has a card with the ids, and an
// address in vn if that is there.
func (c *cloud) scaleSet(subnet, group string, apps ...string) {
	c.t.Helper()
	set := vmss.ScaleSet{UID: setUID, ID: resource.In(subscription, "rg2", "Microsoft.Compute", "virtualMachineScaleSets", "web"), Location: "local", Revision: 1}
	model := vmss.Model{NICs: []vmss.NIC{{Name: "nic", Primary: true, SecurityGroup: group, IPConfigs: []vmss.IPConfig{{Name: "ip", Primary: true, Subnet: subnet, AppGroups: apps}}}}}
	c.commit(store.Put(store.ScaleSets, set.Key(), set), store.Put(store.Revisions, vmss.RevisionKey{Set: setUID, Number: 1}, vmss.Revision{Number: 1, Model: model}),
		store.Put(store.Instances, vmss.InstanceKey{Set: setUID, ID: 0}, vmss.Instance{ID: 0, Revision: 1}))
	if e, ok := store.Get(c.store, store.Networks, noun.NewKey(noun.VirtualNetworkKind, subscription, "rg1", "vn")); ok {
		c.commit(store.Put(store.Reservations, noun.ReservationKey{Space: noun.AddressSpace(e.Value.UID), Name: "10.0.0.4"},
			noun.Reservation{Set: setUID, NIC: "nic", Config: "ip", Subnet: "sn"}))
	}
}

// dropScaleSet removes it again.
func (c *cloud) dropScaleSet() {
	c.t.Helper()
	for _, k := range c.store.ReservedBy(vmss.InstanceKey{Set: setUID}) {
		c.commit(store.Delete(store.Reservations, k, store.Any))
	}
	c.commit(store.Delete(store.ScaleSets, vmss.NewKey(subscription, "rg2", "web"), store.Any), store.Delete(store.Revisions, vmss.RevisionKey{Set: setUID, Number: 1}, store.Any),
		store.Delete(store.Instances, vmss.InstanceKey{Set: setUID, ID: 0}, store.Any))
}
