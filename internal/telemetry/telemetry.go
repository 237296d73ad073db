package telemetry

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/muster-vm/muster/internal/resource"
)

// Telemetry counts what the server does. Make it with New.
type Telemetry struct {
	Registry *prometheus.Registry

	requests    *prometheus.HistogramVec
	reconciles  *prometheus.HistogramVec
	failures    *prometheus.CounterVec
	commits     prometheus.Histogram
	uncommitted *prometheus.CounterVec
}

// New returns a telemetry whose registry has the process's own figures.
func New(version string) *Telemetry {
	t := &Telemetry{
		Registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "muster_request_duration_seconds",
			Help:    "How long requests took, by the pattern of their path; without one for paths that are none of the API's.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}}, []string{"method", "route", "code"}),
		reconciles: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "muster_reconcile_duration_seconds", Help: "How long reconciles took.",
			Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 10, 60}}, []string{"controller"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_reconcile_failures_total",
			Help: "Reconciles that failed, and are tried again; kind is what is wrong."}, []string{"controller", "kind"}),
	}
	t.commits = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "muster_store_commit_duration_seconds", Help: "How long commits to the state store took.",
		Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 10}})
	t.uncommitted = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_store_commit_failures_total",
		Help: "Commits that made nothing; kind Conflict is of two writers at once, one of which tries again."}, []string{"kind"})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "muster_build_info", Help: "Always 1; the label says what runs."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	t.Registry.MustRegister(t.requests, t.reconciles, t.failures, t.commits, t.uncommitted, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return t
}

// Request counts a request. The route is a pattern of the API, empty for none.
func (t *Telemetry) Request(method, route string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		method = "other" // callers choose it
	}
	t.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

// Reconciled counts a reconcile.
func (t *Telemetry) Reconciled(controller string, took time.Duration, err error) {
	t.reconciles.WithLabelValues(controller).Observe(took.Seconds())
	if err != nil {
		t.failures.WithLabelValues(controller, resource.KindOf(err).String()).Inc()
	}
}

// Committed counts a commit to the state store.
func (t *Telemetry) Committed(took time.Duration, err error) {
	t.commits.Observe(took.Seconds())
	if err != nil {
		t.uncommitted.WithLabelValues(resource.KindOf(err).String()).Inc()
	}
}

// Handler answers scrapes.
func (t *Telemetry) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{ErrorLog: errorLog{log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}

// errorLog logs what a scrape could not gather.
type errorLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) { l.log.Warn("a scrape is incomplete", "reason", v) } //nolint:sloglint // promhttp has no context to give
