package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPrometheusIsToldOfServerAndFleetUnderATokenAlone(t *testing.T) {
	c := configOf(t.TempDir())
	c.Simulation = filepath.Join(t.TempDir(), "fleet.json")
	if err := os.WriteFile(c.Simulation, []byte(`{"hosts": [{"name": "host", "zone": "1", "vCPUs": 8, "memoryMB": 8192}], "boot": {"base": "1ms", "jitter": "0s", "shutdown": "1ms"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Metrics.Interval, c.Metrics.Listen = "1s", "127.0.0.1:0"
	s := serve(t, c)
	if res, err := s.http.Get(s.endpoint + "/metrics"); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %v, %v", res, err)
	}
	s.put(web(`, "linuxConfiguration": {"ssh": {"publicKeys": [{"path": "/home/muster/.ssh/authorized_keys", "keyData": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6qGz4jQ1oQm0Zb0a4GZl1n8b8gkH3o2dQmXvP0sZ1c"}]}}`))
	wanted := []string{
		`muster_scale_set_capacity{resource_group="lab",scale_set="web"} 1`,
		`muster_scale_set_instances{power_state=`,
		`muster_host_vcpus{host="`,
		`muster_request_duration_seconds_count{code="201",method="PUT",route="/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{set}"} 1`,
		`muster_reconcile_duration_seconds_count{controller="set"}`, `muster_reconcile_duration_seconds_count{controller="contents"}`,
		`muster_scale_set_metric{aggregation="Average",metric="Percentage CPU",resource_group="lab",scale_set="web",unit="Percent"}`,
		`muster_state_store_bytes{kind="size"}`, `muster_store_commit_duration_seconds_count`, `muster_quota_usage{location="local",quota="virtualMachines"} 1`,
		`go_goroutines`, `muster_build_info`,
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		status, _, page := s.call(http.MethodGet, "/metrics", "")
		missing := slices.IndexFunc(wanted, func(line string) bool { return !strings.Contains(page, line) })
		switch {
		case status == http.StatusOK && missing < 0:
			return
		case time.Since(begin) > patience:
			t.Fatalf("%d, and no %s in\n%s", status, wanted[max(missing, 0)], page)
		}
	}
}

func TestTheOpenListenerAnswersLocalNamesAlone(t *testing.T) {
	c := configOf(t.TempDir())
	c.Metrics.Listen = "127.0.0.1:0"
	s := serve(t, c)
	found := regexp.MustCompile(`metrics without a token" address=(\S+)`).FindStringSubmatch(s.log.String())
	if found == nil {
		t.Fatalf("the log does not say where:\n%s", s.log)
	}
	for host, want := range map[string]int{"": 200, "localhost:9464": 200, "[::1]": 200, "evil.example": 403, "evil.example:9464": 403, "10.0.0.1": 403} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+found[1]+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("host %q: %d, want %d", host, res.StatusCode, want)
		}
	}
}

func TestOnlyWhoMayReadTheSubscriptionScrapes(t *testing.T) {
	s := serve(t, configOf(t.TempDir()))
	for _, token := range []string{"", "Bearer ", "Bearer nonsense", "Basic YTpi"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.endpoint+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", token)
		res, err := s.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("authorization %q: %d", token, res.StatusCode)
		}
	}
	if status, _, page := s.call(http.MethodGet, "/metrics", ""); status != http.StatusOK || !strings.Contains(page, "muster_build_info") {
		t.Errorf("the owner gets %d", status)
	}
}
