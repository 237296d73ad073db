package compute

import (
	"context"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

const (
	// instancePage is how many instances a page has at most.
	instancePage = 100
	// scanSize is how many instances a filter looks at in one go.
	scanSize = 1000
)

// pageBuffer is where a page of instances is written. Buffers are used again:
// pages are large, and garbage is costly to collect beside a large store.
type pageBuffer struct {
	instances []byte // one after the other
	page      []byte // made of them
}

func (a *API) listInstances(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	opt, err := expandInstance(r, "instanceView")
	if err != nil {
		return nil, err
	}
	if opt.OnlyView, err = onlyView(r.Query("$select")); err != nil {
		return nil, err
	}
	filter, err := parseFilter(r.Query("$filter"))
	if err != nil {
		return nil, err
	}
	set, err := a.scaleSet(ctx, r)
	if err != nil {
		return nil, err
	}
	records, next, err := a.page(r, *set.Value, filter)
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(records))
	buffer, ok := a.pages.Get().(*pageBuffer)
	if !ok {
		buffer = &pageBuffer{}
	}
	all := buffer.instances[:0]
	for i, rec := range records {
		renderer, err := a.renderer(set, rec.Row.Value.Revision)
		if err != nil {
			return nil, err
		}
		from := len(all)
		all = renderer.Append(all, inputOf(rec), opt)
		values[i] = all[from:]
	}
	buffer.instances, buffer.page = all, wire.AppendPage(buffer.page[:0], values, next)
	return &arm.Response{Body: buffer.page, Release: func() { a.pages.Put(buffer) }}, nil
}

// page returns the instances of the page that the request asks for, and where
// the next one is. Without a filter it looks at one page of the set only.
func (a *API) page(r *arm.Request, set vmss.ScaleSet, filter filter) (page []*store.Record, next string, err error) {
	after, err := afterID(r)
	if err != nil {
		return nil, "", err
	}
	limit := instancePage + 1
	if len(filter) > 0 {
		limit = scanSize
	}
	for {
		some := a.Store.Instances(set.UID, after, limit)
		for _, rec := range some {
			if !filter.accepts(set, rec) {
				continue
			}
			if len(page) == instancePage {
				return page, arm.NextLink(r, page[instancePage-1].ID.String()), nil
			}
			page = append(page, rec)
		}
		if len(some) < limit {
			return page, "", nil
		}
		after = some[limit-1].ID
	}
}

// afterID returns the id after which the page starts, -1 for the first.
func afterID(r *arm.Request) (vmss.InstanceID, error) {
	token, err := arm.SkipToken(r)
	if err != nil || token == "" {
		return -1, err
	}
	id, err := vmss.ParseInstanceID(token)
	if err != nil {
		return -1, resource.Errorf(resource.Invalid, "InvalidSkipToken", "The $skiptoken is not one of this list. Follow nextLink as it was given.").At("$skiptoken")
	}
	return id, nil
}

// onlyView reads $select: nothing, or the instance view alone.
func onlyView(selected string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(selected)) {
	case "":
		return false, nil
	case "instanceview", "instanceview/statuses":
		return true, nil
	}
	return false, resource.Errorf(resource.Invalid, "InvalidParameter", "'%.64s' cannot be selected; $select takes instanceView.", selected).At("$select")
}
