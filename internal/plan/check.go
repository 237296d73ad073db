package plan

import (
	"fmt"

	"github.com/muster-vm/muster/internal/vmss"
)

// Check says which laws a plan breaks. It shares no code with the planner. It
// runs in every test, and in production behind the server's check flag; a plan
// that breaks a law is not carried out.
func Check(in Input, p Plan) []string {
	c := checker{in: in, plan: p, before: map[vmss.InstanceID]Member{}, seen: map[vmss.InstanceID]bool{}}
	for _, i := range in.Instances {
		c.before[i.Row.ID] = i
	}
	for _, e := range p.Edits {
		switch e := e.(type) {
		case Create:
			c.create(e.Row)
		case Change:
			c.change(e.Row)
		case Remove:
			c.remove(e.ID)
		}
	}
	c.budget()
	if p.Remove && (!in.Set.Deleting || c.removed < len(in.Instances)) {
		c.breaks("the set's records go although rows are left or nobody deleted it")
	}
	return c.broken
}

type checker struct {
	in      Input
	plan    Plan
	before  map[vmss.InstanceID]Member
	seen    map[vmss.InstanceID]bool
	created int
	removed int
	broken  []string
}

func (c *checker) breaks(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

// once: at most one edit per instance.
func (c *checker) once(id vmss.InstanceID) {
	if c.seen[id] {
		c.breaks("instance %d is edited twice", id)
	}
	c.seen[id] = true
}

func (c *checker) create(row vmss.Instance) {
	c.once(row.ID)
	c.created++
	if _, ok := c.before[row.ID]; ok || row.ID < c.in.State.NextID {
		c.breaks("instance id %d is used a second time", row.ID)
	}
	if row.ID >= c.plan.State.NextID {
		c.breaks("instance id %d is at or above the next id %d", row.ID, c.plan.State.NextID)
	}
	if c.in.Set.Deleting {
		c.breaks("instance %d is made in a set that is being deleted", row.ID)
	}
}

func (c *checker) change(row vmss.Instance) {
	c.once(row.ID)
	was, ok := c.before[row.ID]
	switch {
	case !ok:
		c.breaks("instance %d is changed but does not exist", row.ID)
	case was.Row.Deleting && !row.Deleting:
		c.breaks("instance %d comes back from deletion", row.ID)
	case row.Generation < was.Row.Generation || row.Operation < was.Row.Operation || row.Boots < was.Row.Boots || row.Disks < was.Row.Disks:
		c.breaks("instance %d goes back in time", row.ID)
	case was.Row.Host != "" && row.Host != was.Row.Host:
		c.breaks("instance %d changes its host", row.ID)
	}
	if row.Deleting && !was.Row.Deleting && was.Protection.ScaleIn() && !c.in.Set.Deleting && !c.askedToDelete(row.ID) {
		c.breaks("protected instance %d is deleted", row.ID)
	}
}

// askedToDelete: a user named the instance in a delete.
func (c *checker) askedToDelete(id vmss.InstanceID) bool {
	for _, op := range c.in.Operations {
		if op.Kind == vmss.OpDeleteSome && op.Covers(id) {
			return true
		}
	}
	return false
}

func (c *checker) remove(id vmss.InstanceID) {
	c.once(id)
	c.removed++
	if was, ok := c.before[id]; !ok || !was.Row.Deleting || !was.Seen.Gone && was.Row.Host != "" {
		c.breaks("the row of instance %d goes although its host may have a virtual machine", id)
	}
}

// budget: rows in any state never exceed the capacity through creates.
func (c *checker) budget() {
	if c.created > 0 && len(c.in.Instances)+c.created > c.in.Set.SKU.Capacity {
		c.breaks("%d rows in any state and %d creates exceed the capacity of %d", len(c.in.Instances), c.created, c.in.Set.SKU.Capacity)
	}
}
