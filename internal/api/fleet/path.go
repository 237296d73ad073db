package fleet

import (
	"context"
	"net/netip"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// pathQuestion is what a request to explain a path may say.
var pathQuestion = wire.MustParseLedger(`from  string  acts
to  string  acts
port  int32  acts
protocol  enum(Tcp|Udp|Icmp)  acts`)

// pathAnswer is what becomes of a flow, and why.
type pathAnswer struct {
	Allowed     bool       `json:"allowed"`
	From        string     `json:"from"` // addresses that the names meant
	To          string     `json:"to"`
	SourceSeen  string     `json:"sourceSeen,omitempty"`  // by the receiver; absent if there is none, or it sees the host's own address
	Destination string     `json:"destination,omitempty"` // where the flow ends, after load balancing; absent if it ends nowhere
	Steps       []pathStep `json:"steps"`
}

// pathStep is one thing that decided, in the order of the packet's way.
type pathStep struct {
	Stage  network.Stage  `json:"stage"`
	Group  string         `json:"securityGroup,omitempty"` // id
	Rule   string         `json:"rule,omitempty"`
	Access network.Access `json:"access"`
	Reason string         `json:"reason"`
}

// outside stands for everybody who is not in the virtual network: an address that
// is nobody's.
//
// Source: https://www.rfc-editor.org/rfc/rfc5737
var outside = netip.MustParseAddr("203.0.113.1")

// clientPort is one that clients call from.
const clientPort = 49152

// pathRoutes lists the operations about virtual networks.
func (a *API) pathRoutes() []arm.Route {
	if a.Program == nil {
		return nil
	}
	const path = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/virtualNetworks/{network}/providers/" + Namespace + "/explainPath"
	return []arm.Route{{Method: "POST", Path: path, Action: Namespace + "/explainPath/action", Handler: a.explainPath, Versions: Versions}}
}

// explainPath says what becomes of a flow in a virtual network, as its rules,
// members and probes are now.
func (a *API) explainPath(_ context.Context, r *arm.Request) (*arm.Response, error) {
	doc, err := pathQuestion.Decode(r.Body())
	if err != nil {
		return nil, err
	}
	p, err := a.Program(network.NewKey(network.VirtualNetworkKind, r.Var("subscription"), r.Var("group"), r.Var("network")))
	if err != nil {
		return nil, err
	}
	f, err := flowOf(p, doc)
	if err != nil {
		return nil, err
	}
	return &arm.Response{Body: explainedPath(f, p.Decide(f))}, nil
}

// flowOf reads the question about a network. It fails with Invalid and lists every
// problem.
func flowOf(p network.Program, doc wire.Document) (network.Flow, error) {
	var all wire.Problems
	f := network.Flow{Protocol: network.TCP}
	if s, ok := doc["protocol"].(string); ok {
		f.Protocol = network.Protocol(s)
	}
	port, given := doc["port"].(int64)
	switch {
	case !f.Protocol.HasPorts() && given:
		all.Add("InvalidParameter", "port", "%s has no ports; leave the port out.", f.Protocol)
	case f.Protocol.HasPorts() && (port < 1 || port > 65535):
		all.Add("InvalidParameter", "port", "Say which port is called: a number from 1 to 65535.")
	}
	var from uint16
	if f.Protocol.HasPorts() {
		from = clientPort
	}
	for _, end := range []struct {
		member string
		port   uint16
		into   *netip.AddrPort
	}{{"from", from, &f.From}, {"to", uint16(port), &f.To}} {
		name, _ := doc[end.member].(string)
		address, err := addressIn(p, name)
		if err != nil {
			all.AddError(err.At(end.member))
		}
		*end.into = netip.AddrPortFrom(address, end.port)
	}
	return f, all.Err()
}

// addressIn returns the address that a name means: one itself, an instance's, or
// that of somebody outside.
func addressIn(p network.Program, name string) (netip.Addr, *resource.Error) {
	if strings.EqualFold(name, string(network.TagInternet)) {
		return outside, nil
	}
	if a, err := netip.ParseAddr(name); err == nil {
		if !a.Is4() {
			return a, resource.Errorf(resource.Invalid, "InvalidParameter", "%.64s is not IPv4; IPv6 is not supported.", name)
		}
		return a, nil
	}
	instance := strings.Replace(name, "/", "_", 1)
	var found, primary *network.Card
	for i, c := range p.Cards {
		switch {
		case !strings.EqualFold(c.Instance, instance):
		case found == nil:
			found = &p.Cards[i]
		case !strings.EqualFold(ownerOf(c), ownerOf(*found)):
			return netip.Addr{}, resource.Errorf(resource.Invalid, "InvalidParameter", "Instances of several scale sets in virtual network %s are called %.64s; give the address of the one that is meant.", p.Name, instance)
		}
		if primary == nil && c.Primary && strings.EqualFold(c.Instance, instance) {
			primary = &p.Cards[i]
		}
	}
	switch {
	case primary != nil:
		return primary.Address, nil
	case found != nil:
		return found.Address, nil
	}
	return netip.Addr{}, resource.Errorf(resource.Invalid, "InvalidParameter",
		"'%.64s' is neither an IPv4 address, nor an instance with a network card in virtual network %s, such as web/3, nor Internet.", name, p.Name)
}

// ownerOf is what of a card's id names its instance.
func ownerOf(c network.Card) string {
	owner, _, _ := strings.Cut(strings.ToLower(c.ID), "/networkinterfaces/")
	return owner
}

func explainedPath(f network.Flow, v network.Verdict) pathAnswer {
	out := pathAnswer{Allowed: v.Allowed, From: f.From.Addr().String(), To: f.To.Addr().String(), Steps: []pathStep{}}
	if v.Allowed {
		out.Destination = v.To.String()
		if !f.Protocol.HasPorts() {
			out.Destination = v.To.Addr().String()
		}
		if v.Source.IsValid() {
			out.SourceSeen = v.Source.String()
		}
	}
	for _, s := range v.Steps {
		step := pathStep{Stage: s.Stage, Rule: s.Rule, Access: s.Access, Reason: s.Why}
		if s.Group != (network.Key{}) {
			step.Group = resource.In(s.Group.Subscription, s.Group.Group, "Microsoft.Network", string(s.Group.Kind), s.Group.Name).String()
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}
