package bridge

import (
	"encoding/json"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// addresses compares what go-cmp may not look into.
var addresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func TestAProgramIsReadAsItWasWritten(t *testing.T) {
	p := trialProgram()
	p.Network, p.Name, p.DNS = red, "net", []netip.Addr{netip.MustParseAddr("10.0.0.53")}
	key := network.NewKey(network.SecurityGroupKind, "s", "g", "n")
	p.Chains[0].Group, p.Cards[0].Group, p.Cards[0].Apps = key, key, []network.Key{key}
	p.Cards[0].Pools = []network.Ref{{Key: key, Child: "pool"}}
	p.Cards[0].NAT = []network.NATPort{{Pool: network.Ref{Key: key, Child: "nat"}, Port: 50000}}
	p.Services[0].Leaving, p.Services[0].Drain = []netip.Addr{netip.MustParseAddr("10.0.0.9")}, time.Minute
	p.Targets = []network.Target{{Network: red, Address: netip.MustParseAddr("10.0.0.4"), Probe: network.Probe{Protocol: network.ProbeHTTP, Port: 80, Path: "/", Interval: 5 * time.Second, Threshold: 2}}}
	dir := t.TempDir()
	file := recordFile(dir, keyOf(red))
	content, err := encodeRecord(transit(netip.MustParsePrefix("169.254.1.4/30")), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeRecord(file, content); err != nil {
		t.Fatal(err)
	}
	all, err := readRecords(dir)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	got, ok := all[0].program()
	if diff := cmp.Diff(p, got, addresses); !ok || diff != "" {
		t.Errorf("the program (-written +read):\n%s", diff)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v, %v, want it private", info.Mode(), err)
	}
}

func TestAProgramOfAnotherVersionCountsAsNone(t *testing.T) {
	dir := t.TempDir()
	write := func(r record) {
		t.Helper()
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(recordFile(dir, keyOf(red)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{`{"Network":"` + string(red) + `","Spell":1}`, `{"Network":"` + string(blue) + `"}`, `null`, `7`} {
		write(record{Version: recordVersion, UID: red, Program: json.RawMessage(program)})
		all, err := readRecords(dir)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: got %v, %v", program, all, err)
		}
		if p, ok := all[0].program(); ok {
			t.Errorf("%s: got %v", program, p)
		}
	}
	for _, r := range []record{{Version: 2, UID: red}, {Version: 1, UID: blue}} {
		write(r)
		if _, err := readRecords(dir); !resource.Is(err, resource.Unavailable) {
			t.Errorf("%v: got error %v, want Unavailable", r, err)
		}
	}
}

func TestNamesOfNetworksFitTheKernelAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, fabric := range []string{"a", "abcdefgh"} {
		for _, uid := range []network.UID{red, blue} {
			n := namesOfNetwork(fabric, keyOf(uid))
			for _, name := range []string{n.namespace, n.veth, n.table} {
				if seen[name] {
					t.Errorf("%s is taken", name)
				}
				seen[name] = true
			}
			if len(n.veth) > 15 {
				t.Errorf("%s is too long", n.veth)
			}
		}
	}
	if name := bridgeOf("a subnet with a very long name that goes on and on"); len(name) > 15 {
		t.Errorf("%s is too long", name)
	}
}
