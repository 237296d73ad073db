package remotewrite_test

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/metrics/remotewrite"
	"github.com/muster-vm/muster/internal/vmss"
)

// received is a request that a receiver got.
type received struct {
	authorization string
	samples       map[string]float64 // by labels
}

// receiver answers remote writes: the first ones as if it were broken.
func receiver(t *testing.T, failures int) (address string, got chan received) {
	t.Helper()
	got = make(chan received, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failures > 0 {
			failures--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		packed, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		raw, err := snappy.Decode(nil, packed)
		if err != nil {
			t.Error(err)
		}
		var body prompb.WriteRequest
		if err := body.Unmarshal(raw); err != nil {
			t.Error(err)
		}
		out := received{r.Header.Get("Authorization"), map[string]float64{}}
		for _, series := range body.Timeseries {
			var words []string
			for _, l := range series.Labels {
				words = append(words, l.Name+"="+l.Value)
			}
			for _, s := range series.Samples {
				out.samples[strings.Join(words, " ")] = s.Value
			}
		}
		got <- out
	}))
	t.Cleanup(server.Close)
	return server.URL + "/api/v1/write", got
}

func TestAReceiverGetsEveryPointWithItsCredentialsEvenIfItWasDown(t *testing.T) {
	t.Parallel() // it waits between tries
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret-of-the-receiver\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	address, got := receiver(t, 2)
	a, err := remotewrite.New(&metrics.Memory{}, []remotewrite.Receiver{{URL: address, BearerTokenFile: token}},
		func(vmss.UID) (string, string) { return "lab", "web" }, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Truncate(time.Minute)
	s := metrics.Summary{At: at}
	s.Points[metrics.PercentageCPU] = metrics.Point{At: at, Sum: 30, Min: 10, Max: 20, Count: 2}
	const set = vmss.UID("11111111-1111-1111-1111-111111111111")
	if err := a.Append(set, []metrics.Summary{s}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for len(seen) < 4 {
		select {
		case r := <-got:
			if r.authorization != "Bearer secret-of-the-receiver" {
				t.Errorf("authorization is %q", r.authorization)
			}
			maps.Copy(seen, r.samples)
		case <-time.After(time.Minute):
			t.Fatalf("only %v came", seen)
		}
	}
	series := "__name__=muster_scale_set metric=Percentage CPU of=%s resource_group=lab scale_set=web set=" + string(set)
	for part, want := range map[string]float64{"sum": 30, "min": 10, "max": 20, "count": 2} {
		if v, ok := seen[strings.Replace(series, "%s", part, 1)]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v; all: %v", part, v, ok, want, seen)
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "secret-of-the-receiver") {
		t.Error("the log has the token")
	}
}

func TestReceiversThatCannotWorkAreRefused(t *testing.T) {
	for _, r := range []remotewrite.Receiver{{URL: "ftp://x/"}, {URL: "nonsense"}, {URL: "https://u:p@x/"}, {URL: "https://x/", BearerTokenFile: "f", Username: "u", PasswordFile: "p"},
		{URL: "https://x/", Username: "u"}} {
		if err := r.Check(); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
	if err := (remotewrite.Receiver{URL: "https://x/", Username: "u", PasswordFile: "p"}).Check(); err != nil {
		t.Error(err)
	}
}

func TestWhatWaitsWhenTheServerEndsIsSentIfItCan(t *testing.T) {
	address, got := receiver(t, 0)
	a, err := remotewrite.New(&metrics.Memory{}, []remotewrite.Receiver{{URL: address}}, func(vmss.UID) (string, string) { return "", "" }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := metrics.Summary{At: time.Now().UTC().Truncate(time.Minute)}
	s.Points[metrics.NetworkIn] = metrics.PointOf(s.At, 1)
	if err := errors.Join(a.Append("s", []metrics.Summary{s}), a.Close()); err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 {
		t.Error("nothing was sent")
	}
	if p, err := a.Points("s", metrics.NetworkIn, s.At, s.At.Add(time.Minute)); err != nil || len(p) != 1 {
		t.Errorf("the archive has %v, %v", p, err)
	}
}

func TestAReceiverThatRefusesDoesNotStopWhatComesAfter(t *testing.T) {
	address, got := receiver(t, 0)
	refused := make(chan struct{})
	var first atomic.Bool
	picky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(false, true) {
			http.Error(w, "out of order", http.StatusBadRequest)
			close(refused)
			return
		}
		http.Redirect(w, r, address, http.StatusTemporaryRedirect)
	}))
	defer picky.Close()
	a, err := remotewrite.New(&metrics.Memory{}, []remotewrite.Receiver{{URL: picky.URL + "/write"}}, func(vmss.UID) (string, string) { return "", "" }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := metrics.Summary{At: time.Now().UTC().Truncate(time.Minute)}
	s.Points[metrics.NetworkIn] = metrics.PointOf(s.At, 1)
	if err := a.Append("s", []metrics.Summary{s}); err != nil {
		t.Fatal(err)
	}
	<-refused
	if err := a.Append("s", []metrics.Summary{s}); err != nil {
		t.Fatal(err)
	}
	<-got
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
