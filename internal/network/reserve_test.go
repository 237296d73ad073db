package network_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

var (
	home   = network.AddressSpace("u")
	front  = network.Want{Space: home, For: owner("front"), Within: netip.MustParsePrefix("10.0.0.0/28"), Of: "front"}
	public = network.Want{Space: network.PublicSpace, For: owner(""), Within: netip.MustParsePrefix("203.0.113.0/29"), Of: "public"}
	ssh    = network.Want{Space: network.PortSpace("lb", "ssh"), For: owner(""), Ports: network.Ports{First: 50000, Last: 50001}, Of: "ssh"}
)

func owner(subnet string) network.Reservation {
	return network.Reservation{Set: "s", Instance: 3, NIC: "nic", Config: "ip", Subnet: subnet}
}

func held(w network.Want, name string) network.Held {
	return network.Held{ReservationKey: network.ReservationKey{Space: w.Space, Name: name}, For: w.For, Revision: 7}
}

func TestWhatIsWantedAndThereIsKeptAndTheRestIsSurplus(t *testing.T) {
	elsewhere := held(front, "10.0.0.5")
	elsewhere.For.Subnet = "back"
	for _, tt := range []struct {
		name    string
		wants   []network.Want
		has     []network.Held
		names   []string
		surplus []network.Held
	}{
		{"nothing", nil, nil, []string{}, nil},
		{"new", []network.Want{front, public, ssh}, nil, []string{"", "", ""}, nil},
		{"settled", []network.Want{front, public, ssh}, []network.Held{held(ssh, "50001"), held(public, "203.0.113.4"), held(front, "10.0.0.9")},
			[]string{"10.0.0.9", "203.0.113.4", "50001"}, nil},
		{"more than wanted", []network.Want{front}, []network.Held{held(front, "10.0.0.9"), held(ssh, "50000"), held(front, "10.0.0.10")},
			[]string{"10.0.0.9"}, []network.Held{held(ssh, "50000"), held(front, "10.0.0.10")}},
		{"another subnet", []network.Want{front}, []network.Held{elsewhere}, []string{""}, []network.Held{elsewhere}},
		{"outside of the range", []network.Want{front, ssh}, []network.Held{held(front, "10.0.1.4"), held(ssh, "49999")}, []string{"", ""},
			[]network.Held{held(front, "10.0.1.4"), held(ssh, "49999")}},
	} {
		names, surplus := network.Match(tt.wants, tt.has)
		if diff := cmp.Diff([]any{tt.names, tt.surplus}, []any{names, surplus}, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestTheLowestFreeNameIsChosenUntilNoneIsLeft(t *testing.T) {
	for _, tt := range []struct {
		want  network.Want
		first string
		n     int
		code  string
	}{
		{front, "10.0.0.4", 11, "SubnetIsFull"},
		{public, "203.0.113.4", 3, "PublicIPCountLimitReached"},
		{ssh, "50000", 2, "NatPoolPortsExhausted"},
		{network.Want{Space: network.PublicSpace}, "", 0, "PublicIPCountLimitReached"},
	} {
		taken := map[string]bool{}
		isTaken := func(name string) bool { return taken[name] }
		for i := range tt.n {
			name, _, err := tt.want.Choose(0, isTaken)
			if err != nil || i == 0 && name != tt.first {
				t.Fatalf("%s: the %dth choice is %q, %v", tt.want.Of, i, name, err)
			}
			taken[name] = true
		}
		_, _, err := tt.want.Choose(0, isTaken)
		if e, ok := errors.AsType[*resource.Error](err); !ok || e.Kind != resource.Exhausted || e.Code != tt.code {
			t.Errorf("%s: a full space gives %v, want %s", tt.want.Of, err, tt.code)
		}
	}
}

// TestAHintChangesNoChoice starts where everything below is taken.
func TestAHintChangesNoChoice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SampledFrom([]network.Want{front, ssh, public}).Draw(t, "want")
		taken := map[string]bool{}
		isTaken := func(name string) bool { return taken[name] }
		var hint network.Place
		for range rapid.IntRange(0, 12).Draw(t, "choices") {
			plain, at, err := w.Choose(0, isTaken)
			hinted, there, hintErr := w.Choose(hint, isTaken)
			if plain != hinted || at != there || (err == nil) != (hintErr == nil) {
				t.Fatalf("%q without a hint and %q with %d", plain, hinted, hint)
			}
			if place, ok := network.PlaceOf(plain); err == nil && (!ok || place != at) {
				t.Fatalf("the place of %s is %d, and was said to be %d", plain, place, at)
			}
			taken[plain], hint = true, at+1
		}
	})
}

func TestASpaceTellsItsVirtualNetwork(t *testing.T) {
	if uid, ok := home.Network(); !ok || uid != "u" {
		t.Errorf("got %q, %t", uid, ok)
	}
	for _, s := range []network.Space{network.PublicSpace, ssh.Space} {
		if uid, ok := s.Network(); ok {
			t.Errorf("%s is said to be of network %q", s, uid)
		}
	}
}
