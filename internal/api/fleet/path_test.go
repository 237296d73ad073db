package fleet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/api/fleet"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// pathWorld has a network "net" in which web_0 and web_1 are behind a public
// frontend that is open on port 80, as is a rule to it, and db_0 is alone.
type pathWorld struct {
	testing.TB
	handler *arm.Server
	program network.Program
}

func newPathWorld(t testing.TB) *pathWorld {
	t.Helper()
	key := func(kind network.Kind, name string) network.Key { return network.NewKey(kind, "0000", "rg", name) }
	id := func(kind network.Kind, name string) resource.ID {
		return resource.In("0000", "rg", "Microsoft.Network", string(kind), name)
	}
	closed := key(network.SecurityGroupKind, "web")
	port := func(instance, nic, address string, primary bool) network.Port {
		set, n, _ := strings.Cut(instance, "_")
		return network.Port{Name: instance + nic, Instance: instance, Address: netip.MustParseAddr(address), Subnet: "web", Primary: primary,
			ID: fmt.Sprintf("/subscriptions/0000/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/%s/virtualMachines/%s/networkInterfaces/%s", set, n, nic)}
	}
	w := network.World{
		Network: network.Resource{ID: id(network.VirtualNetworkKind, "net"), UID: "net", Kind: network.VirtualNetworkKind, VirtualNetwork: &network.VirtualNetwork{
			Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
			Subnets:  []network.Subnet{{Name: "web", Prefix: netip.MustParsePrefix("10.0.1.0/24"), SecurityGroup: closed}}}},
		Groups: map[network.Key]network.SecurityGroup{closed: {Rules: []network.Rule{{Name: "http", Priority: 100, Direction: network.Inbound, Access: network.Allow, Protocol: network.TCP,
			Source: network.Peer{Any: true}, Destination: network.Peer{Any: true}, Ports: []network.Ports{{First: 8080, Last: 8080}}}}}},
		Public: map[network.Key]network.Resource{key(network.PublicAddressKind, "pip"): {PublicAddress: &network.PublicAddress{Address: netip.MustParseAddr("198.51.100.10")}}},
		Balancers: []network.Resource{{ID: id(network.LoadBalancerKind, "lb"), UID: "lb", Kind: network.LoadBalancerKind, SKU: network.Standard, LoadBalancer: &network.LoadBalancer{
			Frontends: []network.Frontend{{Name: "fe", Public: key(network.PublicAddressKind, "pip")}}, Pools: []network.Pool{{Name: "be"}},
			Rules: []network.BalancingRule{{Name: "http", Frontend: "fe", Pools: []string{"be"}, Protocol: network.TCP, FrontendPort: 80, BackendPort: 8080}}}}},
		Ports: []network.Port{port("web_0", "second", "10.0.1.9", false), port("web_0", "first", "10.0.1.4", true), port("db_0", "only", "10.0.1.5", true)},
	}
	w.Ports[1].Pools = []network.Ref{{Key: key(network.LoadBalancerKind, "lb"), Child: "be"}}
	p := &pathWorld{TB: t, program: network.Compile(w)}
	api := &fleet.API{Program: func(k network.Key) (network.Program, error) {
		if k != key(network.VirtualNetworkKind, "net") {
			return network.Program{}, resource.Errorf(resource.NotFound, "ResourceNotFound", "There is no such network.")
		}
		return p.program, nil
	}}
	var err error
	if p.handler, err = arm.NewServer(api.Routes(), gate{}, gate{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return p
}

// explain asks about a path in a network, and returns the status and the answer.
func (w *pathWorld) explain(net, body string) (int, string) {
	url := "https://localhost:8443/subscriptions/0000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/" + net + "/providers/Muster.Fleet/explainPath?api-version=2026-11-01"
	r := httptest.NewRequestWithContext(w.Context(), "POST", url, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

func TestTheDocumentationShowsHowAPathIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../../docs/api/muster-fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "/explainPath\n")
	_, sample, _ := strings.Cut(section, "```json\n")
	sample, _, _ = strings.Cut(sample, "\n```")
	code, body := newPathWorld(t).explain("net", `{"from": "Internet", "to": "198.51.100.10", "port": 80}`)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(body), "", "  "); err != nil || code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if diff := cmp.Diff(sample, pretty.String()); diff != "" {
		t.Errorf("%s\n%s", diff, pretty.String())
	}
}

func TestNamesMeanAddresses(t *testing.T) {
	w := newPathWorld(t)
	for name, want := range map[string]string{
		"10.0.1.77": "10.0.1.77", "web/0": "10.0.1.4", "web_0": "10.0.1.4", "WEB_0": "10.0.1.4", "db/0": "10.0.1.5", "internet": "203.0.113.1",
	} {
		code, body := w.explain("NET", fmt.Sprintf(`{"from": %q, "to": "10.0.1.5", "port": 8080, "protocol": "tcp"}`, name))
		var got struct{ From string }
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || got.From != want {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
}

func TestTheAnswerSaysWhereAFlowEnds(t *testing.T) {
	w := newPathWorld(t)
	for body, want := range map[string]string{
		`{"from": "web/0", "to": "db/0", "port": 8080}`:                       `{"allowed":true,"from":"10.0.1.4","to":"10.0.1.5","sourceSeen":"10.0.1.4","destination":"10.0.1.5:8080"`,
		`{"from": "db/0", "to": "web/0", "protocol": "icmp"}`:                 `{"allowed":true,"from":"10.0.1.5","to":"10.0.1.4","sourceSeen":"10.0.1.5","destination":"10.0.1.4"`,
		`{"from": "Internet", "to": "web/0", "port": 8080}`:                   `{"allowed":false,"from":"203.0.113.1","to":"10.0.1.4","steps":[{"stage":"route","access":"Deny","reason":`,
		`{"from": "web/0", "to": "Internet", "port": 443, "protocol": "Udp"}`: `{"allowed":true,"from":"10.0.1.4","to":"203.0.113.1",`,
		`{"from": "db/0", "to": "168.63.129.16", "port": 53}`:                 `{"allowed":true,"from":"10.0.1.5","to":"168.63.129.16","sourceSeen":"10.0.1.5","destination":"168.63.129.16:53","steps":[]}`,
	} {
		if code, got := w.explain("net", body); code != 200 || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %d %s\nwant %s", body, code, got, want)
		}
	}
}

func TestQuestionsThatMakeNoSenseAreRefusedAtTheirPlace(t *testing.T) {
	w := newPathWorld(t)
	for _, tt := range []struct{ net, body, want string }{
		{"nope", `{"from": "Internet", "to": "10.0.1.4", "port": 80}`, `404 {"error":{"code":"ResourceNotFound"`},
		{"net", `{"from": "web/7", "to": "10.0.1.4", "port": 80}`, `"target":"from"`},
		{"net", `{"from": "10.0.1.4", "port": 80}`, `"target":"to"`},
		{"net", `{"from": "::1", "to": "10.0.1.4", "port": 80}`, `IPv6 is not supported`},
		{"net", `{"from": "10.0.1.5", "to": "10.0.1.4"}`, `"target":"port"`},
		{"net", `{"from": "10.0.1.5", "to": "10.0.1.4", "port": 65536}`, `"target":"port"`},
		{"net", `{"from": "10.0.1.5", "to": "10.0.1.4", "port": 1, "protocol": "icmp"}`, `Icmp has no ports`},
		{"net", `{"from": "10.0.1.5", "to": "10.0.1.4", "port": 1, "protocol": "sctp"}`, `"target":"protocol"`},
		{"net", `{"form": "10.0.1.5", "to": "10.0.1.4", "port": 1}`, `"target":"form"`},
		{"net", ``, `has 3 problems`},
	} {
		code, got := w.explain(tt.net, tt.body)
		if answer := fmt.Sprintf("%d %s", code, got); code != 400 && code != 404 || !strings.Contains(answer, tt.want) {
			t.Errorf("%s: %s\nwant %s", tt.body, answer, tt.want)
		}
	}
}

func TestANameOfTwoInstancesMeansNone(t *testing.T) {
	w := newPathWorld(t)
	other := w.program.Cards[2]
	other.Instance, other.ID = "web_0", strings.Replace(w.program.Cards[0].ID, "/rg/", "/other/", 1)
	w.program.Cards = append(w.program.Cards, other)
	if code, body := w.explain("net", `{"from": "web/0", "to": "10.0.1.5", "port": 80}`); code != 400 || !strings.Contains(body, "several scale sets") {
		t.Errorf("%d %s", code, body)
	}
}
