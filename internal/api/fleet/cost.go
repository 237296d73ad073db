package fleet

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// costs is what a set costs by the server's price file.
type costs struct {
	Currency      string   `json:"currency"`
	HoursPerMonth int      `json:"hoursPerMonth"`
	Now           cost     `json:"now"`        // the instances that run
	Allocated     cost     `json:"allocated"`  // those that hold their place on a host, stopped ones too
	AtCapacity    cost     `json:"atCapacity"` // as many instances of the current model as are wanted, all running
	Sizes         []ofSize `json:"sizes"`
}

// cost is a sum of money. Disks cost whatever their instances do.
type cost struct {
	Instances int         `json:"instanceCount"`
	Compute   json.Number `json:"computePerHour"`
	Hour      json.Number `json:"perHour"`  // disks included
	Month     json.Number `json:"perMonth"` // if nothing changes
}

// ofSize is the part of the instances that have one size.
type ofSize struct {
	Size      string      `json:"vmSize"`
	Price     json.Number `json:"pricePerHour"`
	Instances int         `json:"instanceCount"`
	Allocated int         `json:"allocatedCount"`
	Running   int         `json:"runningCount"`
	DiskGB    int         `json:"diskSizeGB"` // of all of them
	Compute   json.Number `json:"computePerHour"`
}

// tally counts the instances of one size.
type tally struct {
	size                          string
	instances, allocated, running int
	diskGB                        int
}

func (a *API) getCosts(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	set, err := a.Set(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.Prices == nil {
		return nil, resource.Errorf(resource.NotFound, "PricesNotFound",
			"The server has no prices. Write a price file, name it as prices in the server's config, and start the server again.")
	}
	snap, _ := a.Store.Snapshot(set.Value.UID)
	out, err := costsOf(*a.Prices, *set.Value, snap)
	if err != nil {
		return nil, err
	}
	return &arm.Response{Body: item[costs]{Name: "current", Type: Namespace + "/costs", Properties: out}}, nil
}

// costsOf adds up what a set costs. NotFound if a size has no price: a sum that
// leaves something out would be wrong.
func costsOf(p vmss.Prices, set vmss.ScaleSet, snap store.Snapshot) (costs, error) {
	models := map[vmss.RevisionNumber]vmss.Model{}
	for _, rev := range snap.Revisions {
		models[rev.Number] = rev.Model
	}
	out := costs{Currency: p.Currency, HoursPerMonth: vmss.HoursPerMonth, Sizes: []ofSize{}}
	current, err := priceOf(p, set.SKU.Name)
	if err != nil {
		return out, err
	}
	running, allocated, nRunning, nAllocated := vmss.Cost{}, vmss.Cost{}, 0, 0
	for _, t := range tallies(models, snap.Instances) {
		price, err := priceOf(p, t.size)
		if err != nil {
			return out, err
		}
		part := p.Instances(price, t.running, t.diskGB)
		running, allocated = running.Plus(part), allocated.Plus(p.Instances(price, t.allocated, t.diskGB))
		nRunning, nAllocated = nRunning+t.running, nAllocated+t.allocated
		out.Sizes = append(out.Sizes, ofSize{t.size, number(price), t.instances, t.allocated, t.running, t.diskGB, number(part.Compute)})
	}
	capacity := set.SKU.Capacity
	out.Now, out.Allocated = costOf(running, nRunning), costOf(allocated, nAllocated)
	out.AtCapacity = costOf(p.Instances(current, capacity, capacity*models[set.Revision].DiskGB()), capacity)
	return out, nil
}

// tallies counts instances by the size of the model that they shall have, in
// the order of sizes' names.
func tallies(models map[vmss.RevisionNumber]vmss.Model, instances []*store.Record) []tally {
	found := map[string]*tally{}
	for _, rec := range instances {
		row := rec.Row.Value
		model := models[row.Revision]
		t := found[model.Size]
		if t == nil {
			t = &tally{size: model.Size}
			found[model.Size] = t
		}
		t.instances++
		t.diskGB += model.DiskGB() + vmss.SizeOfDisks(row.Attached)
		if rec.Seen == nil {
			continue
		}
		running, allocated := vmss.Billed(*rec.Seen)
		if running {
			t.running++
		}
		if allocated {
			t.allocated++
		}
	}
	var all []tally
	for _, t := range found {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b tally) int { return strings.Compare(a.size, b.size) })
	return all
}

func priceOf(p vmss.Prices, size string) (vmss.Money, error) {
	price, ok := p.Of(size)
	if !ok {
		return 0, resource.Errorf(resource.NotFound, "PriceNotFound",
			"The price file has no price for the VM size %s. Add it below perHour, and start the server again.", size)
	}
	return price, nil
}

func costOf(c vmss.Cost, instances int) cost {
	return cost{Instances: instances, Compute: number(c.Compute), Hour: number(c.Hour()), Month: number(c.Month())}
}

// number writes an amount as a JSON number, with all its decimals.
func number(m vmss.Money) json.Number { return json.Number(m.String()) }
