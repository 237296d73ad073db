package bridge

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/resource"
)

func TestTransitIsStableAndTouchesNothingInUse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9]{1,8}`).Draw(t, "name")
		used := []usedPrefix{{netip.MustParsePrefix("169.254.0.0/16"), true}}
		var taken []transit
		for range rapid.IntRange(1, 20).Draw(t, "fabrics") {
			got, err := chooseTransit(name, used)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := chooseTransit(name, used)
			third := got.host().As4()[2]
			if got != again || third < 1 || third > 127 || got.inner() != got.host().Next() {
				t.Fatalf("got %v, then %v", got, again)
			}
			for _, o := range taken {
				if netip.Prefix(o).Overlaps(netip.Prefix(got)) {
					t.Fatalf("%v is taken", got)
				}
			}
			taken = append(taken, got)
			used = append(used, usedPrefix{netip.Prefix(got), true})
		}
	})
}

func TestPrefixClashesWithWhatItWouldHide(t *testing.T) {
	for _, tt := range []struct {
		used string
		near bool
		want bool
	}{
		{"10.240.0.0/16", false, true},
		{"10.240.3.0/24", false, true},
		{"10.240.3.1/32", true, true},
		{"10.0.0.0/8", true, true},
		{"10.0.0.0/8", false, false},
		{"192.0.2.0/24", true, false},
	} {
		if _, got := clash(DefaultPrefix, []usedPrefix{{netip.MustParsePrefix(tt.used), tt.near}}); got != tt.want {
			t.Errorf("%s near=%t: clash is %t, want %t", tt.used, tt.near, got, tt.want)
		}
	}
}

func TestTapNamesFitTheKernelAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for i := range 1000 {
		name := tapOf("6f1f3cf0-3f2b-4c5e-9d0f-000000000001-" + strconv.Itoa(i) + "-0")
		if len(name) > 15 || seen[name] {
			t.Fatalf("tap name %q is too long or taken", name)
		}
		seen[name] = true
	}
}

// TestLeaseTableIsItsFile runs random attaches and detaches, and reads the file
// back after each.
func TestLeaseTableIsItsFile(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		file := filepath.Join(dir, strconv.Itoa(n))
		prefix := netip.MustParsePrefix("10.9.0.0/28")
		table, err := readLeases(file, prefix)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			p := testPort("p" + strconv.Itoa(rapid.IntRange(0, 14).Draw(t, "port")))
			p.HostName = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "host name")
			before, had := table.ports[p.Name]
			if rapid.Bool().Draw(t, "detach") {
				if err := table.detach(p.Name); err != nil {
					t.Fatal(err)
				}
			} else if l, err := table.attach(p); err != nil && !resource.Is(err, resource.Exhausted) || had && l.Address != before.Address {
				t.Fatalf("attach: got %v, %v; had %v", l, err, before)
			}
			again, err := readLeases(file, prefix)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(table.sorted(), again.sorted(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Fatalf("the file differs (-table +file):\n%s", diff)
			}
		}
	})
}

func TestLeaseFileIsPrivateAndRefusesNonsense(t *testing.T) {
	file := filepath.Join(t.TempDir(), leasesFile)
	table, err := readLeases(file, DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.attach(testPort("p0")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v; want 0600", st.Mode(), err)
	}
	twin := testPort("p1")
	twin.MAC = strings.ToUpper(testPort("p0").MAC)
	if _, err := table.attach(twin); !resource.Is(err, resource.Conflict) {
		t.Errorf("a second port with the MAC: got error %v, want Conflict", err)
	}
	if _, err := table.attach(fabric.Port{Name: "p2", MAC: "no"}); !resource.Is(err, resource.Invalid) {
		t.Errorf("a bad MAC: got error %v, want Invalid", err)
	}
	if _, err := readLeases(file, netip.MustParsePrefix("10.1.0.0/16")); !resource.Is(err, resource.Conflict) {
		t.Errorf("another prefix: got error %v, want Conflict", err)
	}
	for _, bad := range []string{
		"", "{}", `{"version":2}`,
		`{"version":1,"prefix":"10.240.0.0/16","leases":[{"port":"a","mac":"02:00:00:00:00:01","address":"10.240.0.1"}]}`,
		`{"version":1,"prefix":"10.240.0.0/16","leases":[{"port":"a","mac":"x","address":"10.240.0.9"}]}`,
	} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readLeases(file, DefaultPrefix); !resource.Is(err, resource.Unavailable) {
			t.Errorf("%q: got error %v, want Unavailable", bad, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{Name: ""}, {Name: "Upper"}, {Name: "ninechars"}, {Name: "a/b"},
		{Name: "a", DNS: []netip.Addr{netip.MustParseAddr("::1")}},
		{Name: "a", Prefix: netip.MustParsePrefix("10.0.0.0/30")},
		{Name: "a", Prefix: netip.MustParsePrefix("fd00::/64")},
	} {
		o.Dir = t.TempDir()
		if _, err := Open(t.Context(), o); !resource.Is(err, resource.Invalid) {
			t.Errorf("%+v: got error %v, want Invalid", o, err)
		}
	}
}

const unprivilegedEnv = "MUSTER_BRIDGE_TEST_UNPRIVILEGED"

// TestOpenNamesTheMissingRight runs itself as nobody.
func TestOpenNamesTheMissingRight(t *testing.T) {
	if os.Getenv(unprivilegedEnv) != "" {
		_, err := Open(t.Context(), Options{Name: "a", Dir: t.TempDir()})
		if !resource.Is(err, resource.Unavailable) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("got error %v, want Unavailable with the right's name", err)
		}
		return
	}
	if noHost != "" {
		t.Skip(noHost)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestOpenNamesTheMissingRight$", "-test.v")
	cmd.Env = append(os.Environ(), unprivilegedEnv+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
