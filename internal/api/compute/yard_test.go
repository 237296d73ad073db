package compute_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/api/compute"
	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// yard is the API over a store in memory that holds one scale set, "web".
// Nobody carries out what is asked: tests write what a reconciler would.
type yard struct {
	testing.TB
	api     *compute.API
	handler *arm.Server
	store   *store.Store
	set     vmss.ScaleSet
}

const yardUID = "11111111-1111-1111-1111-111111111111"

// yardGate lets everyone do everything.
type yardGate struct{}

func (yardGate) Authenticate(string) (access.Principal, error) {
	return access.Principal{ObjectID: "me"}, nil
}
func (yardGate) Authorize(access.Principal, string, string) error { return nil }

// shelfImages is a catalogue of two versions of an image.
type shelfImages struct{}

func (shelfImages) Publishers() []string             { return []string{"Canonical"} }
func (shelfImages) Offers(string) []string           { return []string{"jammy"} }
func (shelfImages) SKUs(string, string) []string     { return []string{"22_04-lts"} }
func (shelfImages) Versions(_, _, _ string) []string { return []string{"22.04.10", "22.04.9"} }
func (shelfImages) Resolve(i vmss.Image) (vmss.Image, error) {
	if i.Version != "latest" && !strings.HasPrefix(i.Version, "22.04.") {
		return i, resource.Errorf(resource.NotFound, "ImageNotFound", "There is no such image.")
	}
	i.Exact, i.Digest, i.OSType, i.SizeGB = strings.Replace(i.Version, "latest", "22.04.10", 1), "sha256:00", "Linux", 30
	return i, nil
}

const yardBody = `{"location": "local", "tags": {"app": "web"}, "sku": {"name": "Standard_B1s", "capacity": %d}, "properties": {
	"singlePlacementGroup": false, "upgradePolicy": {"mode": "Manual"}, "virtualMachineProfile": {
	"osProfile": {"computerNamePrefix": "web", "adminUsername": "azureuser", "customData": "c2VjcmV0", "linuxConfiguration": {"disablePasswordAuthentication": true,
		"ssh": {"publicKeys": [{"path": "/home/azureuser/.ssh/authorized_keys", "keyData": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g me@home"}]}}},
	"storageProfile": {"imageReference": {"publisher": "Canonical", "offer": "jammy", "sku": "22_04-lts", "version": "latest"}},
	"networkProfile": {"networkInterfaceConfigurations": [{"name": "nic", "properties": {"primary": true, "ipConfigurations": [{"name": "ip",
		"properties": {"subnet": {"id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/v/subnets/a"}}}]}}]}}}}`

// newYard makes a yard whose set has n instances, all running.
func newYard(t testing.TB, n int) *yard {
	t.Helper()
	return newYardOn(t, memstore.New().Open(), n)
}

// newYardOn is newYard over a backend that is empty.
func newYardOn(t testing.TB, backend store.Backend, n int) *yard {
	t.Helper()
	s, err := store.Open(t.Context(), backend, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	y := &yard{TB: t, store: s}
	y.api = &compute.API{Store: s, Images: shelfImages{}, Subscription: "s", Locations: []string{"local"}, Zones: []string{"1"}, MaxCapacity: 1 << 20,
		Explain: func(vmss.UID) []plan.Blocked { return nil },
		Group: func(_ context.Context, _, name string) (resource.Group, error) {
			return resource.Group{Subscription: "s", Name: name, Location: "local"}, nil
		}}
	if y.handler, err = arm.NewServer(y.api.Routes(), yardGate{}, yardGate{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	y.seedSet(n)
	y.seedRows(0, n, func(i int) (vmss.Instance, vmss.Observation) { return upRow(i, 1) })
	return y
}

func (y *yard) commit(changes ...store.Change) {
	y.Helper()
	if _, err := y.store.Commit(y.Context(), changes...); err != nil {
		y.Fatal(err)
	}
}

func (y *yard) seedSet(n int) {
	y.Helper()
	draft, err := wire.Put(nil, fmt.Appendf(nil, yardBody, n))
	if err != nil {
		y.Fatal(err)
	}
	image, _ := shelfImages{}.Resolve(draft.Image())
	set, model, err := draft.Parse(wire.Input{ID: resource.In("s", "rg", "Microsoft.Compute", "virtualMachineScaleSets", "web"), MaxCapacity: 1 << 20, MaxDataDisks: 4,
		Zones: []string{"1"}, Image: image})
	if err != nil {
		y.Fatal(err)
	}
	set.UID, set.Created, set.Revision = yardUID, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 1
	y.set = set
	y.commit(store.Put(store.Networks, yardNetwork.Key(), yardNetwork))
	y.commit(store.Put(store.ScaleSets, set.Key(), set),
		store.Put(store.Revisions, vmss.RevisionKey{Set: set.UID, Number: 1}, vmss.Revision{Number: 1, Created: set.Created, Model: model}),
		store.Put(store.States, set.UID, vmss.State{NextID: vmss.InstanceID(n)}))
}

// yardNetwork is the virtual network that the set's model names.
var yardNetwork = network.Resource{
	ID: resource.In("s", "rg", "Microsoft.Network", "virtualNetworks", "v"), UID: "22222222-2222-2222-2222-222222222222", Kind: network.VirtualNetworkKind, Location: "local",
	VirtualNetwork: &network.VirtualNetwork{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Subnets: []network.Subnet{{Name: "a", Prefix: netip.MustParsePrefix("10.0.0.0/8")}}},
}

// reservation is what an instance of the set was given.
func (y *yard) reservation(space network.Space, name string, id vmss.InstanceID) store.Change {
	return store.Put(store.Reservations, network.ReservationKey{Space: space, Name: name},
		network.Reservation{Set: string(y.set.UID), Instance: int64(id), NIC: "nic", Config: "ip"})
}

// upRow is a running instance and what is seen of it.
func upRow(i int, model vmss.RevisionNumber) (vmss.Instance, vmss.Observation) {
	at := time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	row := vmss.Instance{ID: vmss.InstanceID(i), Revision: model, Created: at, Host: "h", Power: vmss.PowerRunning, Boots: 1, Disks: 1, DataDisks: 1, Generation: 1}
	return row, vmss.Observation{Generation: 1, Power: vmss.PowerRunning, PowerSince: at, Boots: 1, Disks: 1, DataDisks: 1, Provisioned: at, Revision: model,
		Address: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), MAC: "52:54:00:00:00:01", Agent: "1.0", OSName: "debian", OSVersion: "12"}
}

// seedRows writes the instances from one id to another.
func (y *yard) seedRows(from, to int, of func(int) (vmss.Instance, vmss.Observation)) {
	y.Helper()
	for i := from; i < to; i += 40 {
		var changes []store.Change
		for j := i; j < min(i+40, to); j++ {
			row, seen := of(j)
			key := vmss.InstanceKey{Set: y.set.UID, ID: row.ID}
			changes = append(changes, store.Put(store.Instances, key, row), store.Put(store.Observations, key, seen))
			if seen.Address != "" {
				changes = append(changes, y.reservation(network.AddressSpace(yardNetwork.UID), seen.Address, row.ID))
			}
		}
		y.commit(changes...)
	}
}

// change edits a row as a reconciler would.
func (y *yard) change(id vmss.InstanceID, f func(*vmss.Instance, *vmss.Observation)) {
	y.Helper()
	rec := y.store.Instance(y.set.UID, id)
	row, seen := *rec.Row.Value, *rec.Seen
	f(&row, &seen)
	key := vmss.InstanceKey{Set: y.set.UID, ID: id}
	y.commit(store.Put(store.Instances, key, row), store.Put(store.Observations, key, seen))
}

// current is the set as it is stored now.
func (y *yard) current() store.Entry[vmss.ScaleSet] {
	e, _ := store.Get(y.store, store.ScaleSets, y.set.Key())
	return e
}

// rewrite changes the stored set.
func (y *yard) rewrite(f func(*vmss.ScaleSet)) {
	y.Helper()
	set := *y.current().Value
	f(&set)
	y.commit(store.Put(store.ScaleSets, set.Key(), set))
}

// lastOp is the newest operation of the set.
func (y *yard) lastOp() vmss.Operation {
	op, _, _ := y.store.LastOperation(y.set.UID, func(vmss.Operation) bool { return true })
	return op
}

const (
	yardSet      = "https://h/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/web"
	yardLocation = "https://h/subscriptions/s/providers/Microsoft.Compute/locations/local"
)

// ask sends a request; a path that does not start with https:// is below the
// set. Headers come in pairs.
func (y *yard) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	if !strings.HasPrefix(path, "https://") {
		path = yardSet + path
	}
	if !strings.Contains(path, "api-version=") {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "api-version=2024-07-01"
	}
	r := httptest.NewRequestWithContext(y.Context(), method, strings.ReplaceAll(path, " ", "%20"), strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	y.handler.ServeHTTP(w, r)
	return w
}

// get asks for JSON that must be there.
func (y *yard) get(path string, into any) {
	y.Helper()
	w := y.ask("GET", path, "")
	if w.Code != 200 {
		y.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		y.Fatalf("GET %s: %v in %s", path, err, w.Body)
	}
}

// refused checks that a request is answered with an error, and returns its
// message.
func (y *yard) refused(w *httptest.ResponseRecorder, status int, code, target string) string {
	y.Helper()
	var body struct {
		Error struct{ Code, Message, Target string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		y.Errorf("%d %q: %v", w.Code, w.Body, err)
	}
	if e := body.Error; w.Code != status || e.Code != code || e.Target != target {
		y.Errorf("%d %s at %q (%s), want %d %s at %q", w.Code, e.Code, e.Target, e.Message, status, code, target)
	}
	return body.Error.Message
}

// idList is a page of instances.
type idList struct {
	Value    []struct{ InstanceID string }
	NextLink string
}

func (l idList) ids() string {
	var all []string
	for _, v := range l.Value {
		all = append(all, v.InstanceID)
	}
	return strings.Join(all, " ")
}
