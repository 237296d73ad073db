// Package fleet serves Muster.Fleet: what Azure does not have, as children of
// the resource that it is about, in the same envelope and with the same errors.
// It changes nothing; what people do at a console or through a tunnel is theirs.
// docs/api/muster-fleet.md describes it for users.
package fleet

import (
	"context"
	"slices"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// Namespace is the provider's.
const Namespace = "Muster.Fleet"

// Versions are the api-versions of the namespace, newest first.
var Versions = []string{"2026-11-01"}

// API answers for the namespace. All members but Prices, Streams, Members and Program are
// needed.
type API struct {
	Store   *store.Store
	Explain func(uid vmss.UID) []plan.Blocked                                             // what is wanted for a set and not done, and why
	Set     func(ctx context.Context, r *arm.Request) (store.Entry[vmss.ScaleSet], error) // the one that a path names; NotFound
	Prices  *vmss.Prices                                                                  // nil if the server has none
	Streams *Streams                                                                      // nil if nobody shall reach into instances
	Members func(key network.Key) ([]network.Membership, error)                           // of a load balancer, as they are now; NotFound. nil likewise
	Program func(key network.Key) (network.Program, error)                                // of a virtual network, as it is now; NotFound. nil if there are no virtual networks
}

// Routes lists the operations.
func (a *API) Routes() []arm.Route {
	const below = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{set}/providers/" + Namespace
	route := func(path, action string, h arm.Handler) arm.Route {
		return arm.Route{Method: "GET", Path: below + path, Action: Namespace + action, Handler: h, Versions: Versions}
	}
	return slices.Concat(a.streamRoutes(), a.pathRoutes(), a.memberRoutes(), []arm.Route{
		route("/costs", "/costs/read", a.getCosts),
		route("/explanations", "/explanations/read", a.listExplanations),
		route("/revisions", "/revisions/read", a.listRevisions),
		route("/revisions/{revision}", "/revisions/read", a.getRevision),
	})
}

// item is a resource of the namespace.
type item[P any] struct {
	ID         string `json:"id,omitempty"` // of what can be read by itself
	Name       string `json:"name"`
	Type       string `json:"type"`
	Properties P      `json:"properties"`
}

// list is a page of items.
type list[P any] struct {
	Value    []item[P] `json:"value"`
	NextLink string    `json:"nextLink,omitempty"`
}

// idOf is the id of a resource of the namespace below a set.
func idOf(set resource.ID, typ, name string) string {
	return set.String() + "/providers/" + Namespace + "/" + typ + "/" + name
}
