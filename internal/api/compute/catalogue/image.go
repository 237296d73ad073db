package catalogue

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

func (a *API) imageRoutes() []arm.Route {
	const (
		publishers = locationPath + "/publishers"
		offers     = publishers + "/{publisher}/artifactTypes/vmImage/offers"
		skus       = offers + "/{offer}/skus"
		versions   = skus + "/{sku}/versions"
		may        = "Microsoft.Compute/locations/publishers"
		mayOffers  = may + "/artifactTypes/offers"
	)
	return []arm.Route{
		a.route(publishers, may+"/read", a.listImages),
		a.route(offers, mayOffers+"/read", a.listImages),
		a.route(skus, mayOffers+"/skus/read", a.listImages),
		a.route(versions, mayOffers+"/skus/versions/read", a.listImageVersions),
		a.route(versions+"/{version}", mayOffers+"/skus/versions/read", a.getImageVersion),
	}
}

// maxNamed bounds how many names one answer lists.
const maxNamed = 20

// shelf is where in the catalogue of images a path points: at a location, a
// publisher, an offer or a sku, each spelled as the catalogue does.
type shelf struct {
	location string
	id       string
	ref      vmss.Image
	below    []string // names of what is there
	kind     string   // in the ids of what is there
}

// shelf walks down the path as far as it names anything. It fails with NotFound,
// code NotFound, where the catalogue has nothing of that name.
func (a *API) shelf(r *arm.Request) (shelf, error) {
	if err := a.Known(r.Var("subscription")); err != nil {
		return shelf{}, err
	}
	location, err := a.Location(r, "locations/publishers")
	if err != nil {
		return shelf{}, err
	}
	s := shelf{location: location, id: "/Subscriptions/" + a.Subscription + "/Providers/Microsoft.Compute/Locations/" + location, kind: "/Publishers/"}
	s.below = a.Images.Publishers()
	ref := &s.ref
	for _, step := range []struct {
		variable string
		into     *string
		kind     string
		names    func() []string
	}{
		{"publisher", &ref.Publisher, "/ArtifactTypes/VMImage/Offers/", func() []string { return a.Images.Offers(ref.Publisher) }},
		{"offer", &ref.Offer, "/Skus/", func() []string { return a.Images.SKUs(ref.Publisher, ref.Offer) }},
		{"sku", &ref.SKU, "/Versions/", func() []string { return a.Images.Versions(ref.Publisher, ref.Offer, ref.SKU) }},
	} {
		name := r.Var(step.variable)
		if name == "" {
			return s, nil
		}
		at := slices.IndexFunc(s.below, func(known string) bool { return strings.EqualFold(known, name) })
		if at < 0 {
			return s, resource.Errorf(resource.NotFound, "NotFound", "Artifact: VMImage was not found. The catalogue of images has no %s '%s' at %s; it has: %s.",
				step.variable, name, s.id, cmp.Or(strings.Join(s.below[:min(len(s.below), maxNamed)], ", "), "none"))
		}
		*step.into, s.id, s.kind = s.below[at], s.id+s.kind+s.below[at], step.kind
		s.below = step.names()
	}
	return s, nil
}

// item is an entry of the catalogue as lists show it.
func (s shelf) item(name string) object {
	return object{"location": s.location, "name": name, "id": s.id + s.kind + name}
}

func (a *API) listImages(_ context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := a.shelf(r)
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, name := range s.below {
		all = append(all, s.item(name))
	}
	return &arm.Response{Body: all}, nil
}

// listImageVersions lists the versions of a sku, oldest first unless $orderby
// says otherwise, and the first $top of them.
func (a *API) listImageVersions(_ context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := a.shelf(r)
	if err != nil {
		return nil, err
	}
	if s.below, err = ordered(r, s.below); err != nil {
		return nil, err
	}
	whole := false
	switch v := r.Query("$expand"); {
	case strings.EqualFold(v, "properties"):
		whole = true
	case v != "":
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "'%.64s' cannot be expanded here; $expand takes properties.", v).At("$expand")
	}
	all := []object{}
	for _, name := range s.below {
		item := s.item(name)
		if whole {
			if item, err = a.version(s, name); err != nil {
				return nil, err
			}
		}
		all = append(all, item)
	}
	return &arm.Response{Body: all}, nil
}

// ordered applies $orderby and $top to versions.
func ordered(r *arm.Request, versions []string) ([]string, error) {
	versions = slices.SortedFunc(slices.Values(versions), compareVersions)
	switch strings.Join(strings.Fields(strings.ToLower(r.Query("$orderby"))), " ") {
	case "", "name", "name asc":
	case "name desc":
		slices.Reverse(versions)
	default:
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "The order '%.64s' is not supported; $orderby takes name asc or name desc.", r.Query("$orderby")).At("$orderby")
	}
	if top := r.Query("$top"); top != "" {
		n, err := strconv.Atoi(top)
		if err != nil || n < 1 {
			return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "$top is a number from 1, not '%.64s'.", top).At("$top")
		}
		versions = versions[:min(n, len(versions))]
	}
	return versions, nil
}

// compareVersions orders versions by their numbers: 22.04.9 before 22.04.10.
func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, errX := strconv.ParseUint(x, 10, 64)
		n, errY := strconv.ParseUint(y, 10, 64)
		if errX != nil || errY != nil {
			return strings.Compare(x, y)
		}
		return cmp.Compare(m, n)
	})
}

func (a *API) getImageVersion(_ context.Context, r *arm.Request) (*arm.Response, error) {
	s, err := a.shelf(r)
	if err != nil {
		return nil, err
	}
	body, err := a.version(s, r.Var("version"))
	return &arm.Response{Body: body}, err
}

// version shows an image. All of them boot by BIOS on x64 and bring no data
// disks.
func (a *API) version(s shelf, name string) (object, error) {
	s.ref.Version = name
	image, err := a.Images.Resolve(s.ref)
	if err != nil {
		return nil, err
	}
	out := s.item(cmp.Or(image.Exact, name))
	out["properties"] = object{
		"hyperVGeneration":             "V1",
		"architecture":                 "x64",
		"replicaType":                  "Unmanaged",
		"disallowed":                   object{"vmDiskType": "None"},
		"automaticOSUpgradeProperties": object{"automaticOSUpgradeSupported": false},
		"imageDeprecationStatus":       object{"imageState": "Active"},
		"features": []object{
			{"name": "IsAcceleratedNetworkSupported", "value": "False"},
			{"name": "DiskControllerTypes", "value": "SCSI"},
			{"name": "IsHibernateSupported", "value": "False"},
		},
		"osDiskImage":    object{"operatingSystem": image.OSType, "sizeInGb": image.SizeGB, "sizeInBytes": int64(image.SizeGB) << 30},
		"dataDiskImages": []object{},
	}
	return out, nil
}
