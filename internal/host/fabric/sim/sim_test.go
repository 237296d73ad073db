package sim_test

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/fabric/sim"
	"github.com/muster-vm/muster/internal/resource"
)

func TestFullSubnetIsExhaustedUntilAPortGoes(t *testing.T) {
	f := sim.New(netip.MustParsePrefix("10.240.0.0/28"))
	var got []string
	for i := range 11 {
		lease, err := f.Attach(t.Context(), fabric.Port{Name: strconv.Itoa(i)})
		if err != nil {
			t.Fatal(err)
		}
		if lease.Gateway != netip.MustParseAddr("10.240.0.1") {
			t.Errorf("gateway is %s", lease.Gateway)
		}
		got = append(got, lease.Address.String())
	}
	var want []string
	for i := 4; i < 15; i++ { // Azure keeps the first four and the last one
		want = append(want, "10.240.0."+strconv.Itoa(i)+"/28")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	_, err := f.Attach(t.Context(), fabric.Port{Name: "late"})
	if e, ok := errors.AsType[*resource.Error](err); !ok || e.Kind != resource.Exhausted || e.Code != "SubnetIsFull" {
		t.Errorf("got error %v, want SubnetIsFull", err)
	}
	if err := f.Detach(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	if lease, err := f.Attach(t.Context(), fabric.Port{Name: "late"}); err != nil || lease.Address.String() != "10.240.0.6/28" {
		t.Errorf("got %v, %v; want the freed address", lease, err)
	}
}

// TestPortsHaveTheLowestFreeAddress compares with a set of numbers.
func TestPortsHaveTheLowestFreeAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := sim.New(netip.MustParsePrefix("10.0.0.0/27"))
		have := map[string]int{} // name to last octet
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := strconv.Itoa(rapid.IntRange(0, 25).Draw(t, "port"))
			if rapid.Bool().Draw(t, "detach") {
				delete(have, name)
				if err := f.Detach(t.Context(), name); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if _, ok := have[name]; !ok {
				have[name] = lowest(have)
			}
			lease, err := f.Attach(t.Context(), fabric.Port{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			if got := int(lease.Address.Addr().As4()[3]); got != have[name] {
				t.Fatalf("port %s got .%d, want .%d", name, got, have[name])
			}
		}
		if ports, _ := f.Ports(t.Context()); len(ports) != len(have) {
			t.Fatalf("Ports lists %v, want %d", ports, len(have))
		}
	})
}

func lowest(have map[string]int) int {
	for n := 4; ; n++ {
		free := true
		for _, used := range have {
			free = free && used != n
		}
		if free {
			return n
		}
	}
}
