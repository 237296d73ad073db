// Package fleettest boots a whole control plane in one process, over an
// in-memory store and simulated hosts, and talks to it with the real Azure SDK
// client. Inside a synctest bubble a day of a fleet takes milliseconds. What
// runs is what the server runs; only files and sockets are left out.
package fleettest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/sim"
	"github.com/muster-vm/muster/internal/host/fabric"
	simfabric "github.com/muster-vm/muster/internal/host/fabric/sim"
	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/identity"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/server"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
)

// Endpoint is where the control plane is, as its clients see it.
const Endpoint = "https://localhost:8443"

// Location is where everything is.
const Location = "local"

// Options shape a fleet. The zero value is population.Default.
type Options struct {
	Population population.Population
	Config     func(*server.Config)
	Backend    func(store.Backend) store.Backend   // wraps the store of each start
	Driver     func(compute.Driver) compute.Driver // wraps each host's driver at each start
	Vault      func(server.Vault) server.Vault     // wraps the contents of disks at each start
	Fabric     func(Fabric) Fabric                 // wraps the hosts' network at each start
	Dead       func() bool                         // whether the process was killed: nobody answers then; nil for never
	Log        *slog.Logger                        // nil for none
}

// Fabric is the network of hosts.
type Fabric interface {
	fabric.Fabric
	fabric.Networks
}

// Fleet is a simulated fleet and the control plane over it. The store, the hosts
// and the contents of disks outlive the control plane, as disks and machines do.
type Fleet struct {
	Ledger *sim.Ledger // of every machine that the hosts ever had
	opts   Options
	db     *memstore.DB
	images *image.Catalogue
	hosts  []server.HostPart
	vault  server.Vault

	session store.Backend
	plane   atomic.Pointer[server.Plane] // nil while it does not run
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// New makes a fleet that is not started.
func New(t testing.TB, opts Options) *Fleet {
	t.Helper()
	if opts.Population.Hosts == nil {
		opts.Population = population.Default()
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	images, err := image.Open(t.Context(), image.Options{Simulated: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &Fleet{Ledger: &sim.Ledger{}, opts: opts, db: memstore.New(), images: images}
	f.hosts, f.vault = server.SimulatedHosts(f.config(), opts.Population, images, f.Ledger), server.SimulatedVault(images, opts.Population)
	t.Cleanup(func() {
		f.Stop()
		for _, h := range f.hosts {
			h.Driver.(*sim.Driver).Close()
		}
	})
	return f
}

// Boot makes a fleet and starts it.
func Boot(t testing.TB, opts Options) *Fleet {
	t.Helper()
	f := New(t, opts)
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *Fleet) config() server.Config {
	c := server.Default()
	c.Driver, c.CheckPlan, c.Network.Prefix = "sim", true, "10.0.0.0/8"
	if f.opts.Config != nil {
		f.opts.Config(&c)
	}
	return c
}

// principals is who may log in, made once: keys take a while.
var principals = sync.OnceValues(func() (*identity.Identity, error) {
	dir, err := os.MkdirTemp("", "muster-fleettest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	id, first, err := identity.Open(dir, nil, time.Now())
	if err == nil {
		admin = *first
	}
	return id, err
})

// admin is the owner, once principals was called.
var admin identity.Credentials

// Start starts a control plane over what the store and the hosts have.
func (f *Fleet) Start(ctx context.Context) error {
	who, err := principals()
	if err != nil {
		return err
	}
	f.session = f.db.Open()
	if f.opts.Backend != nil {
		f.session = f.opts.Backend(f.session)
	}
	hosts := append([]server.HostPart(nil), f.hosts...)
	for i := range hosts {
		if f.opts.Driver != nil {
			hosts[i].Driver = f.opts.Driver(hosts[i].Driver)
		}
		if f.opts.Fabric != nil {
			hosts[i].Fabric = f.opts.Fabric(f.Fabric())
		}
	}
	vault := f.vault
	if f.opts.Vault != nil {
		vault = f.opts.Vault(vault)
	}
	plane, err := server.Assemble(ctx, server.Parts{Config: f.config(), Backend: f.session, Identity: who, Images: f.images, Hosts: hosts, Vault: vault, Log: f.opts.Log})
	if err != nil {
		return errors.Join(err, f.session.Close())
	}
	f.plane.Store(plane)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	f.done.Go(func() {
		if err := plane.Run(running); err != nil {
			f.opts.Log.ErrorContext(running, "control plane", "err", err)
		}
	})
	return nil
}

// Stop ends the control plane. Machines live on. A second call does nothing.
func (f *Fleet) Stop() {
	plane := f.plane.Swap(nil)
	if plane == nil {
		return
	}
	f.stop()
	f.done.Wait()
	plane.Close()
	_ = f.session.Close() // the records outlive it
}

// Session opens the store once more, beside the control plane.
func (f *Fleet) Session() store.Backend { return f.db.Open() }

// Machines returns how many machines the hosts have, halves included.
func (f *Fleet) Machines() int { return f.Ledger.Alive() }

// Boots returns how often each machine that exists was booted.
func (f *Fleet) Boots(ctx context.Context) map[compute.VMID]int {
	boots := map[compute.VMID]int{}
	for _, h := range f.hosts {
		for vm, err := range h.Driver.List(ctx) {
			if err == nil {
				boots[vm.ID] = f.Ledger.Count(vm.ID).Boots
			}
		}
	}
	return boots
}

// Disks returns an identity for each disk that the instance's machine has, "os"
// and "data{lun}". Instances of all sets count, so there should be one set.
func (f *Fleet) Disks(ctx context.Context, instance int64) map[string]string {
	for _, h := range f.hosts {
		for vm, err := range h.Driver.List(ctx) {
			if err == nil && vm.ID.Instance == instance {
				return h.Driver.(*sim.Driver).Disks(vm.ID)
			}
		}
	}
	return nil
}

// Fabric returns the network that the hosts share. It outlives the control plane.
func (f *Fleet) Fabric() *simfabric.Fabric { return f.hosts[0].Fabric.(*simfabric.Fabric) }

// Contents lists the disks, snapshots and images that have a content.
func (f *Fleet) Contents(ctx context.Context) ([]disk.UID, error) { return f.vault.List(ctx) }

// Records returns how many records of scale sets the store has: all but ended
// operations, their outcomes and leases.
func (f *Fleet) Records(ctx context.Context) (left []string, err error) {
	session := f.db.Open()
	defer session.Close() //nolint:errcheck // read only
	_, err = session.Load(ctx, func(i store.Item) error {
		switch root, _, _ := strings.Cut(i.Key, "/"); root {
		case "operations", "outcomes", "leases", "groups":
		default:
			left = append(left, i.Key)
		}
		return nil
	})
	return left, err
}

// Subscription returns the id of the subscription that there is.
func (f *Fleet) Subscription() string { return admin.SubscriptionID }

// ClientOptions configures the Azure SDK's clients for this control plane.
func (f *Fleet) ClientOptions() *arm.ClientOptions {
	return &arm.ClientOptions{DisableRPRegistration: true, ClientOptions: policy.ClientOptions{
		Transport: f,
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: Endpoint, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: Endpoint, Audience: Endpoint}}},
	}}
}

// Do implements policy.Transporter: the request is answered in this process.
func (f *Fleet) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:1"
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	plane := f.plane.Load()
	dead := func() bool { return f.plane.Load() != plane || f.opts.Dead != nil && f.opts.Dead() }
	if plane == nil || dead() {
		return nil, errDead
	}
	w := httptest.NewRecorder()
	plane.Handler.ServeHTTP(w, r)
	if dead() {
		return nil, errDead
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

// Get reads one URL of the API, given below the endpoint, as the owner.
func (f *Fleet) Get(ctx context.Context, target string) (string, error) {
	token, err := f.GetToken(ctx, policy.TokenRequestOptions{})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, Endpoint+target, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token.Token)
	res, err := f.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return string(raw), err
}

// GetToken implements azcore.TokenCredential: it logs in as the owner.
func (f *Fleet) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {admin.ClientID}, "client_secret": {admin.ClientSecret}, "scope": {Endpoint + "/.default"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, Endpoint+"/adfs/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return azcore.AccessToken{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := f.Do(r)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return parseToken(raw)
}
