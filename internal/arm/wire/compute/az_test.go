package compute_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// TestBodiesOfTheCLIAreReadOrRefusedForAReason runs what az sends.
func TestBodiesOfTheCLIAreReadOrRefusedForAReason(t *testing.T) {
	var current *compute.Current
	datadriven.RunTest(t, "testdata/az.txt", func(t *testing.T, d *datadriven.TestData) string {
		body := []byte(d.Input)
		switch d.Cmd {
		case "create":
			next, err := tryPut(nil, d.Input)
			if current == nil {
				current = next
			}
			return outcome(err)
		case "put", "patch":
			merge := compute.Put
			if d.Cmd == "patch" {
				merge = compute.Patch
			}
			draft, err := merge(current, body)
			if err != nil {
				return outcome(err)
			}
			next, err := parse(draft)
			if err == nil {
				current = next
			}
			return outcome(err)
		case "instance":
			custom, err := compute.ParseInstance(body, compute.InstanceNow{Rendered: renderer(t, current).Render(running(0), compute.InstanceOptions{})})
			return outcome(err) + fmt.Sprintf("%+v\n", custom.Protection)
		case "ids":
			ids, err := compute.ParseInstanceIDs(body, compute.Required(d.HasArg("required")))
			return outcome(err) + fmt.Sprintln(ids)
		}
		return "unknown command\n"
	})
}

func outcome(err error) string {
	if err == nil {
		return "ok\n"
	}
	e, ok := errors.AsType[*resource.Error](err)
	if !ok {
		return "not an error for users: " + err.Error() + "\n"
	}
	all := e.Details
	if all == nil {
		all = []*resource.Error{e}
	}
	var b strings.Builder
	for _, one := range all {
		fmt.Fprintf(&b, "%s at %s\n", one.Code, one.Target)
	}
	return b.String()
}

func renderer(t *testing.T, c *compute.Current) *compute.InstanceRenderer {
	t.Helper()
	r, err := compute.NewInstanceRenderer(c.Set, vmss.Revision{Number: c.Set.Revision, Created: created, Model: c.Model})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// running is an instance that is up.
func running(n vmss.InstanceID) compute.InstanceInput {
	return compute.InstanceInput{
		Row: vmss.Instance{ID: n, Created: created, Power: vmss.PowerRunning, Generation: 1, FaultDomain: int(n % 5)},
		Seen: vmss.Observation{
			Generation: 1, Power: vmss.PowerRunning, PowerSince: created, Provisioned: created, Address: "10.0.0.4",
			MAC: "02:4d:00:00:00:01", Agent: "1.2.3", OSName: "ubuntu", OSVersion: "22.04",
		},
	}
}
