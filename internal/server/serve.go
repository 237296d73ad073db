package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/muster-vm/muster/internal/host/image"
	"github.com/muster-vm/muster/internal/identity"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/etcdstore"
	"github.com/muster-vm/muster/internal/systemd"
	"github.com/muster-vm/muster/internal/telemetry"
)

// Serve runs a server until ctx is done, and returns with virtual machines left
// running. The line "ready https://..." on out says that it answers. What is
// wrong with the configuration or the machine is an error that names the
// remedy, and nothing is left half-made.
func Serve(ctx context.Context, c Config, out io.Writer, log *slog.Logger) (err error) {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.State, err = stateDir(c.State); err != nil {
		return err
	}
	lock, err := takeLock(c.State)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := finishRestore(c.State, out); err != nil {
		return err
	}
	listener, err := listen(ctx, c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()

	undo := &stack{}
	defer undo.run()
	parts, err := open(ctx, c, undo, log)
	if err != nil {
		return err
	}
	first, err := parts.openIdentity(c)
	if err != nil {
		return err
	}
	plane, err := Assemble(ctx, parts)
	if err != nil {
		return err
	}
	undo.push(plane.Close)
	if c.Metrics.Listen != "" {
		stop, err := serveMetrics(ctx, parts)
		if err != nil {
			return err
		}
		undo.push(stop)
	}
	if control, err := listenControl(ctx, c.State); err == nil {
		undo.push(serveControl(ctx, control, parts))
	} else {
		log.WarnContext(ctx, "no control socket; backups have to wait until the server is stopped", "err", err)
	}
	if first != nil {
		introduce(out, filepath.Join(c.State, "admin.json"), *first)
	}
	return run(ctx, plane, listener, parts, out)
}

// introduce tells of the owner that the first start made. The secret is shown
// this once, and only to a person: what is not a terminal may be kept as a log.
func introduce(out io.Writer, file string, owner identity.Credentials) {
	fmt.Fprintf(out, "first start: the owner's credentials are in %s\n", file)
	if f, ok := out.(*os.File); ok && isTerminal(f) {
		fmt.Fprintf(out, "  client id     %s\n  client secret %s (shown this once)\n", owner.ClientID, owner.ClientSecret)
	}
}

// stateDir makes the state directory and returns its absolute path, the same
// however it is written.
func stateDir(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", resource.Errorf(resource.Invalid, "InvalidConfig", "The state directory cannot be made: %v. Choose another with --state.", err).At("state")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, resource.Errorf(resource.Conflict, "AddressInUse", "Another program listens on %s. Stop it, or choose another address with --listen.", address)
	}
	if err != nil {
		return nil, resource.Errorf(resource.Invalid, "InvalidConfig", "The server cannot listen on %s: %v. Choose another address with --listen.", address, err).At("listen")
	}
	return l, nil
}

// open opens everything that is a file, a process or a network.
func open(ctx context.Context, c Config, undo *stack, log *slog.Logger) (parts Parts, err error) {
	parts = Parts{Config: c, Telemetry: telemetry.New(c.version), Log: log}
	if parts.Prices, err = loadPrices(c.Prices); err != nil {
		return parts, err
	}
	parts.Images, err = image.Open(ctx, image.Options{Tiny: c.Images.Tiny, File: c.Images.Catalogue, Allowed: c.Images.Allowed,
		CacheDir: filepath.Join(c.State, imageDir), Pins: filepath.Join(c.State, imageDir), Simulated: c.Driver == "sim"})
	if err != nil {
		return parts, err
	}
	for _, f := range parts.Images.Faults() {
		log.WarnContext(ctx, "an image cannot be used", "reason", f.Msg)
	}
	if parts.Backend, err = openBackend(ctx, c, log); err != nil {
		return parts, err
	}
	undo.push(func() {
		if err := parts.Backend.Close(); err != nil {
			log.WarnContext(ctx, "close the state store", "err", err)
		}
	})
	if c.Driver == "sim" {
		fleet, err := loadPopulation(c.Simulation)
		parts.Hosts = SimulatedHosts(c, fleet, parts.Images, nil)
		vault := SimulatedVault(parts.Images, fleet)
		parts.Vault, parts.Adopt = vault, vault.Adopt
		return parts, err
	}
	parts.Archive = parts.archive
	parts.Machines = &Machines{}
	vault, err := openVault(c, parts.Images, parts.Machines, log)
	if err != nil {
		return parts, err
	}
	parts.Vault = vault
	host, closers, err := openQEMU(ctx, c, parts.Images, vault, log)
	undo.push(closers...)
	parts.Hosts = []HostPart{host}
	return parts, err
}

func openBackend(ctx context.Context, c Config, log *slog.Logger) (store.Backend, error) {
	if len(c.Etcd.Endpoints) > 0 {
		return etcdstore.Dial(ctx, etcdstore.Options{Endpoints: c.Etcd.Endpoints, CA: c.Etcd.CA, Cert: c.Etcd.Cert, Key: c.Etcd.Key, Log: log})
	}
	return etcdstore.OpenEmbedded(ctx, etcdstore.Options{Dir: filepath.Join(c.State, etcdDir), Log: log})
}

// openIdentity reads or makes who may log in. The owner's credentials are
// returned at the first start only.
func (p *Parts) openIdentity(c Config) (first *identity.Credentials, err error) {
	p.Identity, first, err = identity.Open(c.State, slices.Concat(c.Names, listenName(c.Listen)), time.Now())
	return first, err
}

// shutdownLimit is how long requests may take to end once the server stops.
const shutdownLimit = 5 * time.Second

// run answers and works until ctx is done or something breaks.
func run(ctx context.Context, plane *Plane, listener net.Listener, parts Parts, out io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	web := newWeb(plane.Handler, parts.Log)
	web.TLSConfig = parts.Identity.TLSConfig()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := web.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			stop(err)
		}
	})
	wg.Go(func() { stop(plane.Run(ctx)) })
	if b, ok := parts.Backend.(interface{ Done() <-chan struct{} }); ok {
		wg.Go(func() {
			select {
			case <-ctx.Done():
			case <-b.Done():
				stop(errors.New("the state store broke down; the log says why. Mend that and start the server again"))
			}
		})
	}
	if err := systemd.Notify(systemd.Ready); err != nil {
		parts.Log.WarnContext(ctx, "tell the service manager that the server is ready", "err", err)
	}
	fmt.Fprintf(out, "ready https://%s\n", listener.Addr())
	<-ctx.Done()
	_ = systemd.Notify(systemd.Stopping) // the service manager sees the end in any case
	parts.Log.InfoContext(ctx, "stopping; virtual machines keep running")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	if err := web.Shutdown(grace); err != nil {
		_ = web.Close() // what does not end by itself is cut
	}
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// stack holds what is undone at the end, the last first.
type stack struct{ undo []func() }

func (s *stack) push(f ...func()) { s.undo = append(s.undo, f...) }

func (s *stack) run() {
	for _, f := range slices.Backward(s.undo) {
		f()
	}
}
