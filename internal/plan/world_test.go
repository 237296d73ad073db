package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/vmss"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// sizes is a table of two VM sizes.
func sizes(name string) (vmss.Size, bool) {
	switch name {
	case "small":
		return vmss.Size{Name: name, VCPUs: 1, MemoryMB: 100}, true
	case "large":
		return vmss.Size{Name: name, VCPUs: 4, MemoryMB: 400}, true
	}
	return vmss.Size{}, false
}

// world is a scale set with hosts that do exactly what rows say when they are
// told to settle.
type world struct {
	in       plan.Input
	outcomes []plan.Ended
	sequence int64
}

func newWorld() *world {
	first := &vmss.Revision{Number: 1, Created: epoch, Model: vmss.Model{Size: "small", Image: vmss.Image{Digest: "sha256:a"}}}
	return &world{in: plan.Input{
		Now: epoch, Size: sizes, Model: first,
		Set: vmss.ScaleSet{UID: "u", FaultDomains: 1, Revision: 1, SKU: vmss.SKU{Name: "small"},
			Upgrade: vmss.UpgradePolicy{Mode: vmss.UpgradeManual}, ScaleIn: vmss.ScaleInPolicy{Rule: vmss.ScaleInDefault}},
		Revisions: map[vmss.RevisionNumber]*vmss.Revision{1: first},
	}}
}

// model makes a new current revision.
func (w *world) model(image, size string) {
	n := w.in.Set.Revision + 1
	rev := &vmss.Revision{Number: n, Created: w.in.Now, Model: vmss.Model{Size: size, Image: vmss.Image{Digest: image}}}
	w.in.Set.Revision, w.in.Model, w.in.Revisions[n] = n, rev, rev
}

// operate asks for an operation.
func (w *world) operate(kind vmss.OperationKind, ids []vmss.InstanceID) *vmss.Operation {
	w.sequence++
	slices.Sort(ids) // as the API stores them
	w.in.Operations = append(w.in.Operations, vmss.Operation{ID: fmt.Sprint(w.sequence), Sequence: w.sequence, Kind: kind, Set: w.in.Set.UID,
		Created: w.in.Now, Instances: ids, Below: w.in.State.NextID})
	return &w.in.Operations[len(w.in.Operations)-1]
}

// commit applies a plan to the rows, as the executor does.
func (w *world) commit(p plan.Plan) {
	w.in.State = p.State
	for _, e := range p.Edits {
		switch e := e.(type) {
		case plan.Create:
			w.in.Instances = append(w.in.Instances, plan.Member{Row: e.Row})
		case plan.Change:
			w.at(e.Row.ID).Row = e.Row
		case plan.Remove:
			w.in.Instances = slices.DeleteFunc(w.in.Instances, func(i plan.Member) bool { return i.Row.ID == e.ID })
		}
	}
	for _, o := range p.Outcomes {
		w.outcomes = append(w.outcomes, o)
		w.in.Operations = slices.DeleteFunc(w.in.Operations, func(op vmss.Operation) bool { return op.ID == o.Operation.ID })
	}
}

func (w *world) at(id vmss.InstanceID) *plan.Member {
	for i := range w.in.Instances {
		if w.in.Instances[i].Row.ID == id {
			return &w.in.Instances[i]
		}
	}
	return &plan.Member{}
}

// load counts what the rows use of the hosts.
func (w *world) load() {
	for i := range w.in.Hosts {
		h := &w.in.Hosts[i]
		h.UsedVCPUs, h.UsedMB = 0, 0
		for _, inst := range w.in.Instances {
			if inst.Row.Host == h.Name {
				size, _ := sizes(w.in.Revisions[inst.Row.Revision].Model.Size)
				h.UsedVCPUs += size.VCPUs
				h.UsedMB += size.MemoryMB
			}
		}
	}
}

// settle lets the hosts carry out every row that is placed and not failing.
func (w *world) settle() {
	for i := range w.in.Instances {
		inst := &w.in.Instances[i]
		if inst.Row.Host == "" || inst.Seen.Failure != nil {
			continue
		}
		r := inst.Row
		inst.Seen = vmss.Observation{Generation: r.Generation, Power: r.Power, Boots: r.Boots, Disks: r.Disks, DataDisks: r.DataDisks,
			Revision: r.Revision, Provisioned: w.in.Now, Gone: r.Deleting}
	}
}

// run answers one command of a scenario.
func (w *world) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "set":
		w.set(t, d)
	case "host":
		h := vmss.Host{VCPUs: 1000, MemoryMB: 100000}
		d.ScanArgs(t, "name", &h.Name)
		d.MaybeScanArgs(t, "vcpus", &h.VCPUs)
		d.MaybeScanArgs(t, "zones", &h.Zones)
		d.MaybeScanArgs(t, "domains", &h.Domains)
		w.in.Hosts = append(w.in.Hosts, h)
	case "model":
		image, size := "sha256:a", "small"
		d.MaybeScanArgs(t, "image", &image)
		d.MaybeScanArgs(t, "size", &size)
		w.model(image, size)
	case "operation":
		w.operation(t, d)
	case "protect":
		w.at(id(t, d)).Protection = vmss.Protection{FromScaleIn: !d.HasArg("actions"), FromScaleSetActions: d.HasArg("actions")}
	case "fail":
		inst := w.at(id(t, d))
		inst.Seen.Failure = &vmss.Failure{Code: "AllocationFailed", Message: "no room", Since: w.in.Now, Attempts: 1, Final: true, Generation: inst.Row.Generation}
	case "mend":
		w.at(id(t, d)).Seen.Failure = nil
	case "tick":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		w.in.Now = w.in.Now.Add(dur)
	case "settle":
		w.settle()
	case "plan", "step":
		w.load()
		p := plan.Set(w.in)
		if v := plan.Check(w.in, p); len(v) > 0 {
			d.Fatalf(t, "the plan breaks the law: %v", v)
		}
		if d.Cmd == "step" {
			w.commit(p)
		}
		return show(p)
	case "rows":
		return w.rows()
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	return "ok"
}

func (w *world) set(t *testing.T, d *datadriven.TestData) {
	d.MaybeScanArgs(t, "capacity", &w.in.Set.SKU.Capacity)
	d.MaybeScanArgs(t, "zones", &w.in.Set.Zones)
	d.MaybeScanArgs(t, "domains", &w.in.Set.FaultDomains)
	d.MaybeScanArgs(t, "balance", &w.in.Set.ZoneBalance)
	var s string
	if d.MaybeScanArgs(t, "rule", &s) {
		w.in.Set.ScaleIn.Rule = vmss.ScaleInRule(s)
	}
	if d.MaybeScanArgs(t, "mode", &s) {
		w.in.Set.Upgrade.Mode = vmss.UpgradeMode(s)
	}
	w.in.Set.Deleting = w.in.Set.Deleting || d.HasArg("delete")
}

func (w *world) operation(t *testing.T, d *datadriven.TestData) {
	var kind string
	var ids []string
	d.ScanArgs(t, "kind", &kind)
	d.MaybeScanArgs(t, "ids", &ids)
	var list []vmss.InstanceID
	for _, s := range ids {
		n, err := vmss.ParseInstanceID(s)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		list = append(list, n)
	}
	op := w.operate(vmss.OperationKind(kind), list)
	op.AtInstance, op.SkipShutdown, op.Force = d.HasArg("at-instance"), d.HasArg("skip-shutdown"), d.HasArg("force")
}

func id(t *testing.T, d *datadriven.TestData) vmss.InstanceID {
	var n int
	d.ScanArgs(t, "id", &n)
	return vmss.InstanceID(n)
}

func (w *world) rows() string {
	var b strings.Builder
	slices.SortFunc(w.in.Instances, func(a, b plan.Member) int { return int(a.Row.ID - b.Row.ID) })
	for _, i := range w.in.Instances {
		fmt.Fprintf(&b, "%d model=%d %s boots=%d disks=%d", i.Row.ID, i.Row.Revision, i.Row.Power, i.Row.Boots, i.Row.Disks)
		if i.Row.Zone != "" {
			fmt.Fprintf(&b, " zone=%s", i.Row.Zone)
		}
		if w.in.Set.FaultDomains > 1 {
			fmt.Fprintf(&b, " domain=%d", i.Row.FaultDomain)
		}
		fmt.Fprintf(&b, " %s\n", vmss.Provisioning(i.Row, i.Seen))
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}

func show(p plan.Plan) string {
	var b strings.Builder
	for _, e := range p.Edits {
		fmt.Fprintln(&b, e)
	}
	for _, o := range p.Outcomes {
		fmt.Fprintf(&b, "operation %d %s: %s", o.Operation.Sequence, o.Operation.Kind, o.Outcome.Status)
		if o.Outcome.Error != nil {
			fmt.Fprintf(&b, " %s: %s", o.Outcome.Error.Code, o.Outcome.Error.Message)
		}
		b.WriteString("\n")
	}
	for _, r := range p.Blocked {
		fmt.Fprintln(&b, "blocked", r)
	}
	if p.Remove {
		b.WriteString("the set's records may go\n")
	}
	if !p.WakeAt.IsZero() {
		fmt.Fprintln(&b, "wake at", p.WakeAt.Format(time.TimeOnly))
	}
	if b.Len() == 0 {
		return "converged"
	}
	return b.String()
}

// TestScenarios plays the stories in testdata. Run with -rewrite to accept new
// output.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/set", func(t *testing.T, path string) {
		w := newWorld()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return w.run(t, d) })
	})
}
