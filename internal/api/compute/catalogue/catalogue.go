// Package catalogue serves what a location of Microsoft.Compute offers: images to
// make instances from, and sizes for them. It keeps nothing.
package catalogue

import (
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Images knows the catalogue of images that instances can be made from; those that
// users make are in the store. Answers are sorted; names match in any letter case.
type Images interface {
	// Resolve returns the image with what its reference means now: Exact,
	// Digest, OSType, SizeGB. It fails with NotFound, code ImageNotFound.
	Resolve(ref vmss.Image) (vmss.Image, error)
	Publishers() []string
	Offers(publisher string) []string
	SKUs(publisher, offer string) []string
	Versions(publisher, offer, sku string) []string
}

// API answers for locations. All members are needed.
type API struct {
	Images       Images
	Subscription string
	Locations    []string // the first is the default
	Zones        []string // of every location
	Versions     []string // api-versions, newest first
}

const (
	subscriptionPath = "/subscriptions/{subscription}"
	locationPath     = subscriptionPath + "/providers/Microsoft.Compute/locations/{location}"
)

// Routes lists the operations.
func (a *API) Routes() []arm.Route { return append(a.imageRoutes(), a.sizeRoutes()...) }

func (a *API) route(path, action string, h arm.Handler) arm.Route {
	return arm.Route{Method: "GET", Path: path, Action: action, Handler: h, Versions: a.Versions}
}

type object = map[string]any

// Known fails with NotFound for a subscription that is not this server's.
func (a *API) Known(subscription string) error {
	if !strings.EqualFold(subscription, a.Subscription) {
		return resource.Errorf(resource.NotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", subscription)
	}
	return nil
}

// Location returns the location that the path names, as sets store it. It fails
// with Invalid, code NoRegisteredProviderFound, worded as Azure does for the type.
func (a *API) Location(r *arm.Request, typ string) (string, error) {
	if err := a.Known(r.Var("subscription")); err != nil {
		return "", err
	}
	name := r.Var("location")
	if l, ok := a.Find(name); ok {
		return l, nil
	}
	return "", resource.Errorf(resource.Invalid, "NoRegisteredProviderFound",
		"No registered resource provider found for location '%.64s' and API version '%s' for type '%s'. The supported api-versions are '%s'. The supported locations are '%s'.",
		name, r.APIVersion, typ, strings.Join(a.Versions, ", "), strings.Join(a.Locations, ", "))
}

// Find finds one of the locations, in any letter case and with spaces:
// "East US" is eastus.
func (a *API) Find(name string) (string, bool) {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }
	for _, l := range a.Locations {
		if plain(l) == plain(name) {
			return plain(l), true
		}
	}
	return "", false
}

// Check fails with Invalid unless resources of the type can be made there.
func (a *API) Check(name, typ string) error {
	if name == "" {
		return resource.Errorf(resource.Invalid, "LocationRequired", "The location property is required for this definition.").At("location")
	}
	if _, ok := a.Find(name); !ok {
		return resource.Errorf(resource.Invalid, "LocationNotAvailableForResourceType",
			"The provided location '%.64s' is not available for resource type '%s'. List of available regions for the resource type is '%s'.",
			name, typ, strings.Join(a.Locations, ",")).At("location")
	}
	return nil
}
