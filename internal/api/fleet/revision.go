package fleet

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// revision is a model that the set has or had, without its secrets.
type revision struct {
	Number    vmss.RevisionNumber `json:"number"`
	Created   time.Time           `json:"timeCreated"`
	Latest    bool                `json:"latest"`        // it is the set's current model
	Instances int                 `json:"instanceCount"` // that shall have it
	Size      string              `json:"vmSize"`
	Image     image               `json:"imageReference"`
}

// image is an image as a model names it, with the version that this meant.
type image struct {
	Publisher string `json:"publisher,omitempty"`
	Offer     string `json:"offer,omitempty"`
	SKU       string `json:"sku,omitempty"`
	Version   string `json:"version,omitempty"`
	ID        string `json:"id,omitempty"`
	Exact     string `json:"exactVersion,omitempty"`
	Digest    string `json:"digest,omitempty"`
}

func imageOf(i vmss.Image) image {
	return image{Publisher: i.Publisher, Offer: i.Offer, SKU: i.SKU, Version: i.Version, ID: i.ID, Exact: i.Exact, Digest: i.Digest}
}

// revisions returns the revisions that are kept, newest first.
func (a *API) revisions(ctx context.Context, r *arm.Request) ([]item[revision], error) {
	set, err := a.Set(ctx, r)
	if err != nil {
		return nil, err
	}
	snap, _ := a.Store.Snapshot(set.Value.UID)
	rows := countRows(snap.Instances)
	out := []item[revision]{}
	for _, rev := range slices.Backward(snap.Revisions) {
		name := strconv.FormatInt(int64(rev.Number), 10)
		out = append(out, item[revision]{ID: idOf(snap.Set.Value.ID, "revisions", name), Name: name, Type: Namespace + "/revisions",
			Properties: revision{Number: rev.Number, Created: rev.Created.UTC(), Latest: rev.Number == snap.Set.Value.Revision, Instances: rows[rev.Number],
				Size: rev.Model.Size, Image: imageOf(rev.Model.Image)}})
	}
	return out, nil
}

func countRows(instances []*store.Record) map[vmss.RevisionNumber]int {
	rows := map[vmss.RevisionNumber]int{}
	for _, rec := range instances {
		rows[rec.Row.Value.Revision]++
	}
	return rows
}

func (a *API) listRevisions(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	all, err := a.revisions(ctx, r)
	return &arm.Response{Body: list[revision]{Value: all}}, err
}

func (a *API) getRevision(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	n, err := strconv.ParseInt(r.Var("revision"), 10, 64)
	if err != nil || n < 1 {
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter", "The revision '%.64s' is not a number from 1.", r.Var("revision")).At("revision")
	}
	all, err := a.revisions(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, rev := range all {
		if rev.Properties.Number == vmss.RevisionNumber(n) {
			return &arm.Response{Body: rev}, nil
		}
	}
	return nil, vmss.ErrNoRevision(vmss.RevisionNumber(n))
}
