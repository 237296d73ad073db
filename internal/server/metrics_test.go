package server_test

import (
	"net/http"
	"os"
	"path/filepath"
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
		`muster_reconcile_duration_seconds_count{controller="set"}`,
		`muster_scale_set_metric{aggregation="Average",metric="Percentage CPU",resource_group="lab",scale_set="web",unit="Percent"}`,
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
