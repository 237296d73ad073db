package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/metrics/remotewrite"
	"github.com/muster-vm/muster/internal/metrics/tsdb"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/etcdstore"
	"github.com/muster-vm/muster/internal/telemetry"
	"github.com/muster-vm/muster/internal/vmss"
)

// archive opens the series of scale sets in the state directory. A server without
// them is better than none: if they cannot be opened now, series are in memory
// until the next start.
func (p Parts) archive(ctx context.Context) (metrics.Archive, error) {
	keep, err := p.Config.Metrics.retention()
	if err != nil {
		return nil, err
	}
	opts := tsdb.Options{Dir: filepath.Join(p.Config.State, metricsDir), Retention: keep, Log: p.Log}
	if p.Telemetry != nil {
		opts.Registry = p.Telemetry.Registry
	}
	a, err := tsdb.Open(ctx, opts)
	if err != nil {
		p.Log.WarnContext(ctx, "the archive of metrics cannot be opened; until the server is started again, series of scale sets are kept in memory, for a day", "dir", opts.Dir, "err", err)
		return &metrics.Memory{}, nil
	}
	return a, nil
}

// forwarded has what an archive gets sent to the receivers, if there are any.
func (p *Plane) forwarded(archive metrics.Archive, parts Parts) (metrics.Archive, error) {
	if len(parts.Config.Metrics.RemoteWrite) == 0 {
		return archive, nil
	}
	sent, err := remotewrite.New(archive, parts.Config.Metrics.RemoteWrite, p.names, parts.Log)
	if err != nil {
		return nil, errors.Join(err, archive.Close())
	}
	return sent, nil
}

// wireMetrics makes the recorder of what instances use, and tells Prometheus.
func (p *Plane) wireMetrics(ctx context.Context, parts Parts) (err error) {
	var archive metrics.Archive = &metrics.Memory{}
	if parts.Archive != nil {
		if archive, err = parts.Archive(ctx); err != nil {
			return err
		}
	}
	if archive, err = p.forwarded(archive, parts); err != nil {
		return err
	}
	p.meters = metrics.NewRecorder(parts.Config.sampling(), archive)
	if parts.Telemetry != nil {
		parts.Telemetry.Registry.MustRegister(&telemetry.Fleet{Store: p.store, Metrics: p.meters, Hosts: p.rooms,
			Quotas: parts.Config.Quotas, State: parts.stateSize})
	}
	return nil
}

// names returns the resource group and the name of a scale set, empty if it does
// not exist any more.
func (p *Plane) names(uid vmss.UID) (group, set string) {
	e, ok := p.store.SetByUID(uid)
	if !ok {
		return "", ""
	}
	return e.Value.ID.Group, e.Value.ID.Name()
}

// rooms tells how full the hosts are.
func (p *Plane) rooms() (all []telemetry.Host) {
	for _, h := range p.hosts {
		r := h.Room()
		all = append(all, telemetry.Host{Name: h.Name, VCPUs: r.VCPUs, TakenVCPUs: r.TakenVCPUs, MemoryMB: r.MemoryMB, TakenMemMB: r.TakenMemoryMB})
	}
	return all
}

// stateSize asks etcd how large it is.
func (p Parts) stateSize() (telemetry.StateSize, bool) {
	etcd, ok := p.Backend.(*etcdstore.Store)
	if !ok {
		return telemetry.StateSize{}, false
	}
	s, err := etcd.Status(context.Background()) //nolint:forbidigo // it has a limit of its own
	return telemetry.StateSize{Size: s.Size, InUse: s.InUse, Quota: s.Quota}, err == nil
}

// counted is a backend whose commits are counted.
type counted struct {
	store.Backend
	committed func(took time.Duration, err error)
}

// Commit implements store.Backend.
func (c counted) Commit(ctx context.Context, ops []store.Op) (int64, error) {
	begin := time.Now()
	revision, err := c.Backend.Commit(ctx, ops)
	c.committed(time.Since(begin), err)
	return revision, err
}

// backend is where records are kept.
func (p Parts) backend() store.Backend {
	if p.Telemetry == nil {
		return p.Backend
	}
	return counted{p.Backend, p.Telemetry.Committed}
}

// observe returns what hears of reconciles, nil for nobody.
func (p Parts) observe() func(controller string, took time.Duration, err error) {
	if p.Telemetry == nil {
		return nil
	}
	return p.Telemetry.Reconciled
}

// metricsRoutes let whoever may read the subscription scrape.
func (p *Plane) metricsRoutes(parts Parts) []arm.Route {
	if parts.Telemetry == nil {
		return nil
	}
	return []arm.Route{{Method: http.MethodGet, Path: "/metrics", Action: "Microsoft.Insights/metrics/read", Scope: "/subscriptions/" + parts.Identity.SubscriptionID(),
		HTTP: parts.Telemetry.Handler(parts.Log)}}
}

// serveMetrics answers scrapes on a loopback address without a token, until it is
// undone.
func serveMetrics(ctx context.Context, parts Parts) (undo func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", parts.Config.Metrics.Listen)
	if err != nil {
		return nil, resource.Errorf(resource.Invalid, "InvalidConfig", "The server cannot offer metrics on %s: %v. Choose another address, or none.", parts.Config.Metrics.Listen, err).At("metrics.listen")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", parts.Telemetry.Handler(parts.Log))
	web := &http.Server{Handler: localOnly(mux), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			parts.Log.WarnContext(ctx, "the metrics listener ended", "err", err)
		}
	}()
	parts.Log.InfoContext(ctx, "metrics without a token", "address", listener.Addr().String())
	return func() { _ = web.Close(); <-done }, nil // scrapes that are cut come again
}

// localOnly refuses requests under other names than this machine's own, so that a
// page in a browser cannot read along by giving its name this address.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]") // without a port
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "ask for localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
