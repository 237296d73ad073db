package insights_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/api/insights"
	"github.com/muster-vm/muster/internal/arm"
	shapes "github.com/muster-vm/muster/internal/arm/wire/insights"
	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// gate lets everyone do everything.
type gate struct{}

func (gate) Authenticate(string) (access.Principal, error)    { return access.Principal{}, nil }
func (gate) Authorize(access.Principal, string, string) error { return nil }

var begin = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

// measured is an API with one load balancer, lb in the group lab, of two frontend
// ports: two members behind port 80, of which one is not well, and port 443.
func measured(t *testing.T) *arm.Server {
	t.Helper()
	r := metrics.NewRecorder(0, &metrics.Memory{})
	port := func(n uint16) metrics.Part {
		return metrics.Part{Frontend: netip.MustParseAddr("20.0.0.1"), FrontendPort: n}
	}
	for i := range 30 { // five minutes
		samples := []metrics.BalancerSample{{Part: port(80), Metric: metrics.ByteCount, Value: 100}, {Part: port(443), Metric: metrics.ByteCount, Value: 1000}}
		for j := range 2 {
			p := port(80)
			p.Backend, p.BackendPort, p.Protocol = netip.AddrFrom4([4]byte{10, 0, 0, byte(4 + j)}), 8080, "Tcp"
			samples = append(samples, metrics.BalancerSample{Part: p, Metric: metrics.DipAvailability, Value: float64(100 * j)})
		}
		r.Balancer("uid", begin.Add(time.Duration(i)*10*time.Second), samples)
	}
	api := &insights.API{Metrics: r, Balancer: func(_ context.Context, r *arm.Request) (network.Resource, error) {
		if !strings.EqualFold(r.Var("balancer"), "lb") {
			return network.Resource{}, resource.Errorf(resource.NotFound, "ResourceNotFound", "There is no such load balancer.")
		}
		return network.Resource{UID: "uid", Location: "local", ID: resource.In(r.Var("subscription"), r.Var("group"), "Microsoft.Network", "loadBalancers", "lb")}, nil
	}}
	server, err := arm.NewServer(api.Routes(), gate{}, gate{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// ask asks for something of Microsoft.Insights below a load balancer.
func ask(t *testing.T, s *arm.Server, name, what string, query url.Values, into any) (status int, body string) {
	t.Helper()
	query.Set("api-version", "2018-01-01")
	r := httptest.NewRequestWithContext(t.Context(), "GET",
		"https://localhost:8443/subscriptions/0000/resourceGroups/lab/providers/Microsoft.Network/loadBalancers/"+name+"/providers/microsoft.insights/"+what+"?"+query.Encode(), nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if into != nil && w.Code == 200 {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, w.Body.String()
}

// told asks for a metric of five minutes and writes its series as lines.
func told(t *testing.T, s *arm.Server, metric, filter string, more ...string) []string {
	t.Helper()
	query := url.Values{"metricnames": {metric}, "timespan": {"2026-11-25T10:00:00Z/2026-11-25T10:05:00Z"}, "interval": {"PT5M"}}
	if filter != "" {
		query.Set("$filter", filter)
	}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	var answer shapes.Metrics
	if status, body := ask(t, s, "lb", "metrics", query, &answer); status != 200 {
		return []string{body}
	}
	lines := []string{}
	for _, series := range answer.Value[0].Series {
		line := ""
		for _, d := range series.Dimensions {
			line += d.Name.Value + "=" + d.Value + " "
		}
		for _, d := range *series.Data {
			if d.Average != nil {
				line += fmt.Sprintf("average %g", *d.Average)
			}
			if d.Total != nil {
				line += fmt.Sprintf("total %g", *d.Total)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestABalancersSeriesAreSummedUpBySplitAndFilter(t *testing.T) {
	s := measured(t)
	for _, tt := range []struct {
		metric, filter string
		more           []string
		want           []string
	}{
		{"ByteCount", "", nil, []string{"total 33000"}},
		{"bytecount", "FrontendPort eq '*'", nil, []string{"frontendport=80 total 3000", "frontendport=443 total 30000"}},
		{"ByteCount", "frontendport eq '443'", nil, []string{"frontendport=443 total 30000"}},
		{"ByteCount", "FrontendIPAddress eq '20.0.0.1'", nil, []string{"frontendipaddress=20.0.0.1 total 33000"}},
		{"ByteCount", "FrontendPort eq '*'", []string{"orderby", "total desc", "top", "1"}, []string{"frontendport=443 total 30000"}},
		{"ByteCount", "FrontendPort eq '81'", nil, []string{}},
		{"DipAvailability", "", nil, []string{"average 50"}},
		{"DipAvailability", "BackendIPAddress eq '*'", nil, []string{"backendipaddress=10.0.0.4 average 0", "backendipaddress=10.0.0.5 average 100"}},
		{"DipAvailability", "(BackendIPAddress eq '10.0.0.5' or BackendIPAddress eq '10.0.0.6') and ProtocolType eq 'tcp' and BackendPort eq '*'", nil,
			[]string{"backendipaddress=10.0.0.5 protocoltype=Tcp backendport=8080 average 100"}},
		{"VipAvailability", "", nil, []string{}},
		{"SnatConnectionCount", "", nil, []string{}},
	} {
		if diff := cmp.Diff(tt.want, told(t, s, tt.metric, tt.filter, tt.more...)); diff != "" {
			t.Errorf("%s where %q (-want +got):\n%s", tt.metric, tt.filter, diff)
		}
	}
}

func TestWhatABalancerCannotBeAskedIsRefused(t *testing.T) {
	s := measured(t)
	for _, tt := range []struct{ metric, filter, want string }{
		{"Percentage CPU", "", "Failed to find metric configuration for provider: Microsoft.Network, resource Type: loadBalancers, metric: Percentage CPU, Valid metrics: VipAvailability,DipAvailability,"},
		{"ByteCount", "BackendPort eq '*'", "Metric: ByteCount does not support requested dimension combination: BackendPort, supported ones are: FrontendIPAddress,FrontendPort"},
		{"ByteCount", "Direction eq 'In'", "The filter is not supported at 'Direction eq 'In''. Use FrontendIPAddress eq '*', or FrontendIPAddress eq 'name', joined by or. Dimensions, joined by and: FrontendIPAddress,"},
		{"ByteCount", "FrontendPort eq '80' or FrontendIPAddress eq '20.0.0.1'", "The filter is not supported at 'FrontendIPAddress"},
		{"ByteCount", "FrontendPort eq '80' and FrontendPort eq '443'", "The filter is not supported at 'FrontendPort eq '443''"},
		{"ByteCount", "FrontendPort ne '80'", "The filter is not supported at 'FrontendPort ne '80''"},
	} {
		if got := told(t, s, tt.metric, tt.filter); len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s where %q: %q, want %q", tt.metric, tt.filter, got, tt.want)
		}
	}
	if status, body := ask(t, s, "none", "metrics", url.Values{}, nil); status != 404 {
		t.Errorf("a balancer that does not exist: %d %s", status, body)
	}
}

func TestABalancersMetricsAreDefinedAsAzuresAre(t *testing.T) {
	s := measured(t)
	var definitions shapes.List[shapes.Definition]
	if status, body := ask(t, s, "lb", "metricDefinitions", url.Values{}, &definitions); status != 200 {
		t.Fatal(status, body)
	}
	var got []string
	for _, d := range definitions.Value {
		line := fmt.Sprintf("%s (%s), %s, %s, by", d.Name.Value, d.Name.Localized, d.Unit, d.Primary)
		for _, dimension := range d.Dimensions {
			line += " " + dimension.Value
		}
		got = append(got, line)
		if last := d.Availabilities[0]; d.Namespace != "Microsoft.Network/loadBalancers" || last.Retention != "PT2H" {
			t.Errorf("%s: namespace %s, kept for %s", d.Name.Value, d.Namespace, last.Retention)
		}
	}
	want := []string{
		"VipAvailability (Data Path Availability), Count, Average, by FrontendIPAddress FrontendPort",
		"DipAvailability (Health Probe Status), Count, Average, by ProtocolType BackendPort FrontendIPAddress FrontendPort BackendIPAddress",
		"ByteCount (Byte Count), Bytes, Total, by FrontendIPAddress FrontendPort",
		"PacketCount (Packet Count), Count, Total, by FrontendIPAddress FrontendPort",
		"SYNCount (SYN Count), Count, Total, by FrontendIPAddress FrontendPort",
		"SnatConnectionCount (SNAT Connection Count), Count, Total, by FrontendIPAddress BackendIPAddress",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var namespaces shapes.List[shapes.Namespace]
	if status, body := ask(t, s, "lb", "metricNamespaces", url.Values{}, &namespaces); status != 200 || namespaces.Value[0].Properties.Name != "Microsoft.Network/loadBalancers" {
		t.Errorf("%d %s", status, body)
	}
}

func TestWithoutBalancersThereAreNoRoutesOfThem(t *testing.T) {
	for _, r := range (&insights.API{}).Routes() {
		if strings.Contains(r.Path, "loadBalancers") {
			t.Errorf("%s is served", r.Path)
		}
	}
}
