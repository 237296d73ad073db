package fleettest_test

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/muster-vm/muster/internal/fleettest"
)

// crowd boots a fleet with five instances in a subnet of three addresses. Three
// run, two say why they do not, and the operation names them.
func crowd(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	_, err := l.putNetwork(l.subnet("web", "10.1.0.0/29", ""), l.subnet("large", "10.1.1.0/24", ""))
	l.ok("network", err)
	err = l.putSet("web", l.in("web", 5))
	l.refused("create", err, "SubnetIsFull")
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok && !strings.Contains(e.Error(), `"2 instances failed (`) {
		t.Errorf("the operation does not say which instances have no address: %v", err)
	}
	all, err := l.c.Instances(l.ctx, "lab", "web")
	l.ok("list", err)
	if got, want := powers(all), map[string]int{"Succeeded running": 3, "Failed": 2}; !maps.Equal(got, want) {
		t.Errorf("instances %v, want %v", got, want)
	}
	for _, vm := range all {
		if first := vm.Properties.InstanceView.Statuses[0]; *vm.Properties.ProvisioningState == "Failed" &&
			(*first.Code != "ProvisioningState/failed/SubnetIsFull" || !strings.Contains(*first.Message, "10.1.0.0/29")) {
			t.Errorf("instance %s shows %s", *vm.InstanceID, *first.Code)
		}
	}
	l.expectIn("10.1.0.0/29", 3)
	return l
}

// expectIn checks that the set has n addresses, all in a prefix, that nothing else
// is given out, and that there are as many machines.
func (l *lab) expectIn(prefix string, n int) {
	l.Helper()
	given := l.reserved("")
	for _, key := range given {
		if a := netip.MustParseAddr(key[strings.LastIndex(key, "/")+1:]); !netip.MustParsePrefix(prefix).Contains(a) {
			l.Errorf("%s is given out outside of %s", a, prefix)
		}
	}
	if len(given) != n || l.f.Machines() != n {
		l.Errorf("%v is given out to %d machines, want %d of each", given, l.f.Machines(), n)
	}
}

func (l *lab) expectRunning(step string, n int) {
	l.Helper()
	all, err := l.c.Instances(l.ctx, "lab", "web")
	l.ok("list", err)
	if got, want := powers(all), map[string]int{"Succeeded running": n}; !maps.Equal(got, want) {
		l.Errorf("%s: instances %v, want %v", step, got, want)
	}
}

func TestASetThatHasOutgrownItsSubnetIsWellAfterScalingIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := crowd(t)
		if err := l.putSet("web", fleettest.Capacity(3)); err != nil { // one stays that had none, and is tried again later
			l.refused("scale in", err, "SubnetIsFull")
		}
		time.Sleep(time.Hour) // for back-offs
		l.expectRunning("scale in", 3)
		l.expectIn("10.1.0.0/29", 3)
		l.ok("delete", l.deleteGroup())
		l.nothing()
	})
}

func TestASetThatHasOutgrownItsSubnetIsWellInALargerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := crowd(t)
		l.refused("move, which by itself changes no instance", l.putSet("web", l.in("large", 5)), "SubnetIsFull")
		_, err := end(l.c.Sets.BeginUpdateInstances(l.ctx, "lab", "web", armcompute.VirtualMachineScaleSetVMInstanceRequiredIDs{InstanceIDs: ids(5)}, nil))
		l.ok("upgrade", err)
		time.Sleep(time.Hour) // for the back-offs of those that had failed
		l.expectRunning("upgrade", 5)
		l.expectIn("10.1.1.0/24", 5)
		_, err = end(l.c.Nets.NewSubnetsClient().BeginDelete(l.ctx, "lab", "vnet", "web", nil))
		l.ok("delete the subnet that is too small", err)
		l.ok("delete", l.deleteGroup())
		l.nothing()
	})
}

// TestAnInstanceWithoutAnAddressGetsThatOfOneThatGoes deletes another set of the
// same subnet.
func TestAnInstanceWithoutAnAddressGetsThatOfOneThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		_, err := l.putNetwork(l.subnet("web", "10.1.0.0/29", ""))
		l.ok("network", err)
		l.ok("other", l.putSet("other", l.in("web", 2)))
		l.refused("create", l.putSet("web", l.in("web", 3)), "SubnetIsFull")
		_, err = end(l.c.Sets.BeginDelete(l.ctx, "lab", "other", nil))
		l.ok("delete the other", err)
		time.Sleep(time.Hour) // for back-offs
		l.expectRunning("another went", 3)
		l.expectIn("10.1.0.0/29", 3)
	})
}
