// Package remotewrite sends the series of scale sets to receivers of Prometheus
// remote write, beside the archive that keeps them. A receiver that is down holds
// up nobody: what it shall get waits in memory, the oldest goes when that is much.
//
// Source: https://prometheus.io/docs/specs/prw/remote_write_spec/
package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	promhttp "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/prompb"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/vmss"
)

// Receiver is where every point goes, too. Credentials are read from files, again
// and again, so that they can be changed.
type Receiver struct {
	URL             string `json:"url"`
	BearerTokenFile string `json:"bearerTokenFile,omitempty"`
	Username        string `json:"username,omitempty"`
	PasswordFile    string `json:"passwordFile,omitempty"`
	CAFile          string `json:"caFile,omitempty"`
}

// Check says what is wrong with a receiver.
func (r Receiver) Check() error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("its url is not one of http or https")
	case u.User != nil || u.RawQuery != "":
		return errors.New("its url has a user or a query: name credentials in bearerTokenFile, or in username and passwordFile")
	case r.BearerTokenFile != "" && (r.Username != "" || r.PasswordFile != ""):
		return errors.New("it has both a bearer token and a password")
	case (r.Username == "") != (r.PasswordFile == ""):
		return errors.New("username and passwordFile go together")
	}
	return nil
}

// client makes what writes to the receiver.
func (r Receiver) client() (*remote.API, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	c := promhttp.HTTPClientConfig{TLSConfig: promhttp.TLSConfig{CAFile: r.CAFile}, FollowRedirects: true}
	switch {
	case r.BearerTokenFile != "":
		c.Authorization = &promhttp.Authorization{Type: "Bearer", CredentialsFile: r.BearerTokenFile}
	case r.Username != "":
		c.BasicAuth = &promhttp.BasicAuth{Username: r.Username, PasswordFile: r.PasswordFile}
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	transport, err := promhttp.NewRoundTripperFromConfig(c, "remote-write")
	if err != nil {
		return nil, err
	}
	path := u.Path
	u.Path = ""
	return remote.NewAPI(u.String(), remote.WithAPIPath(path), remote.WithAPIHTTPClient(&http.Client{Transport: transport, Timeout: 30 * time.Second}),
		remote.WithAPIBackoff(remote.BackoffConfig{Min: time.Second, Max: time.Minute, MaxRetries: 10}))
}

// Archive is an archive whose minutes are sent on. Make it with New.
type Archive struct {
	metrics.Archive
	names  func(vmss.UID) (group, set string)
	queues []*queue
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// New begins to send what is appended to an archive. names returns the resource
// group and the name of a scale set, which its series carry as labels.
func New(keep metrics.Archive, to []Receiver, names func(vmss.UID) (group, set string), log *slog.Logger) (*Archive, error) {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // Close ends it
	a := &Archive{Archive: keep, names: names, stop: stop}
	for i, r := range to {
		if err := r.Check(); err != nil {
			stop()
			return nil, fmt.Errorf("receiver %d: %w", i, err)
		}
		api, err := r.client()
		if err != nil {
			stop()
			return nil, fmt.Errorf("receiver %d: %w", i, err)
		}
		a.queues = append(a.queues, &queue{api: api, receiver: r.URL, log: log, wake: make(chan struct{}, 1), closed: make(chan struct{})})
	}
	for _, q := range a.queues {
		a.wg.Go(func() { q.run(ctx) })
	}
	return a, nil
}

// Append implements metrics.Archive.
func (a *Archive) Append(set vmss.UID, minutes []metrics.Summary) error {
	group, name := a.names(set)
	all := series(set, group, name, minutes)
	for _, q := range a.queues {
		q.add(all)
	}
	return a.Archive.Append(set, minutes)
}

// flush is how long Close waits for what is still to be sent.
const flush = 5 * time.Second

// Close implements metrics.Archive.
func (a *Archive) Close() error {
	for _, q := range a.queues {
		close(q.closed)
	}
	cut := time.AfterFunc(flush, a.stop)
	a.wg.Wait()
	cut.Stop()
	a.stop()
	return a.Archive.Close()
}

// series makes of minutes what is sent: of every metric a series for its sum,
// minimum, maximum and count.
func series(set vmss.UID, group, name string, minutes []metrics.Summary) (all []prompb.TimeSeries) {
	parts := [...]struct {
		of    string
		value func(metrics.Point) float64
	}{
		{"count", func(p metrics.Point) float64 { return p.Count }}, {"max", func(p metrics.Point) float64 { return p.Max }},
		{"min", func(p metrics.Point) float64 { return p.Min }}, {"sum", func(p metrics.Point) float64 { return p.Sum }},
	}
	for _, m := range metrics.All() {
		for _, part := range parts {
			s := prompb.TimeSeries{Labels: []prompb.Label{ // in order of names, as the protocol wants it
				{Name: "__name__", Value: "muster_scale_set"}, {Name: "metric", Value: m.String()}, {Name: "of", Value: part.of},
				{Name: "resource_group", Value: group}, {Name: "scale_set", Value: name}, {Name: "set", Value: string(set)}}}
			s.Labels = slices.DeleteFunc(s.Labels, func(l prompb.Label) bool { return l.Value == "" }) // of a set that is gone; the protocol has no empty ones
			for _, minute := range minutes {
				if p := minute.Points[m]; p.Count > 0 {
					s.Samples = append(s.Samples, prompb.Sample{Timestamp: minute.At.UnixMilli(), Value: part.value(p)})
				}
			}
			if len(s.Samples) > 0 {
				all = append(all, s)
			}
		}
	}
	return all
}
