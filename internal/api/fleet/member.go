package fleet

import (
	"context"
	"strconv"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/network"
)

// member is how an instance does as a member of a load balancer.
type member struct {
	Rule     string              `json:"rule"`
	Frontend string              `json:"frontendIPAddress"`
	Port     uint16              `json:"frontendPort"`
	Instance string              `json:"instance"`
	Config   reference           `json:"ipConfiguration"`
	Address  string              `json:"ipAddress"`
	State    network.MemberState `json:"state"`
	Since    *time.Time          `json:"since,omitempty"`
	Reason   string              `json:"reason,omitempty"`
	Answers  []probeAnswer       `json:"answers"`
}

type reference struct {
	ID string `json:"id"`
}

// probeAnswer is what came of one question.
type probeAnswer struct {
	At     time.Time `json:"at"`
	Millis int64     `json:"durationMilliseconds"`
	Reason string    `json:"reason,omitempty"` // what was wrong
}

// memberRoutes lists the operations about members of load balancers.
func (a *API) memberRoutes() []arm.Route {
	if a.Members == nil {
		return nil
	}
	const path = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/loadBalancers/{balancer}/providers/" + Namespace + "/members"
	return []arm.Route{{Method: "GET", Path: path, Action: Namespace + "/members/read", Handler: a.listMembers, Versions: Versions}}
}

// listMembers says how the members of a load balancer do, and why those that get no
// new flows do not.
func (a *API) listMembers(_ context.Context, r *arm.Request) (*arm.Response, error) {
	all, err := a.Members(network.NewKey(network.LoadBalancerKind, r.Var("subscription"), r.Var("group"), r.Var("balancer")))
	if err != nil {
		return nil, err
	}
	body := list[member]{Value: []item[member]{}}
	for i, m := range all {
		p := member{Rule: m.Rule, Frontend: m.Frontend.String(), Port: m.Port, Instance: m.Instance, Config: reference{m.Card}, Address: m.Member.String(),
			State: m.State, Reason: m.Reason, Answers: []probeAnswer{}}
		if !m.Since.IsZero() {
			since := m.Since.UTC()
			p.Since = &since
		}
		for _, answer := range m.Answers {
			p.Answers = append(p.Answers, probeAnswer{answer.At.UTC(), answer.Took.Milliseconds(), answer.Reason})
		}
		body.Value = append(body.Value, item[member]{Name: strconv.Itoa(i), Type: Namespace + "/members", Properties: p})
	}
	return &arm.Response{Body: body}, nil
}
