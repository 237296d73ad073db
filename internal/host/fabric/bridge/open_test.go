package bridge

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/resource"
)

func TestForwardingIsTurnedOnOnceAndSaid(t *testing.T) {
	if noHost != "" {
		t.Skip(noHost)
	}
	if err := os.WriteFile(forwarding, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	opts := Options{Name: "a", Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 2 {
		f, err := Open(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := Destroy(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(forwarding); err != nil || strings.TrimSpace(string(b)) != "1" {
		t.Errorf("ip_forward is %s, %v", b, err)
	}
	if n := strings.Count(log.String(), "net.ipv4.ip_forward"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, &log)
	}
}

func TestOpenNamesTheMissingDevice(t *testing.T) {
	if noHost != "" {
		t.Skip(noHost)
	}
	// An empty folder in its place, in this process's own mount namespace.
	if err := unix.Mount("tmpfs", filepath.Dir(tunDevice), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(filepath.Dir(tunDevice), 0) //nolint:errcheck // the mount namespace ends with the process
	_, err := Open(t.Context(), Options{Name: "a", Dir: t.TempDir()})
	if !resource.Is(err, resource.Unavailable) || !strings.Contains(err.Error(), "modprobe tun") {
		t.Errorf("got error %v, want Unavailable with the remedy", err)
	}
}

func TestPlainFileInPlaceOfANamespaceIsReplaced(t *testing.T) {
	if noHost != "" {
		t.Skip(noHost)
	}
	left := filepath.Join(namespaces, namesOf("a").namespace)
	if err := os.WriteFile(left, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	openFabric(t, Options{Name: "a"})
	if !isNamespace(left) {
		t.Errorf("%s is not a namespace", left)
	}
}

func TestManyPortsAreAdmittedInOneTransaction(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	var members []tables.Member
	addr := netip.MustParseAddr("10.240.0.4")
	for i := range 1501 {
		name := fmt.Sprint("p", i)
		members = append(members, tables.Member{Tap: tapOf(name), MAC: macOf(name), Address: addr})
		addr = addr.Next()
	}
	err := inside(f.ns, func() error {
		return tables.Load(tables.Guard(members))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := admitted(t, f)["guests"]; n != len(members) {
		t.Errorf("the set has %d elements, want %d", n, len(members))
	}
}

// admitted counts the elements of the guard's sets by their names.
func admitted(t *testing.T, f *Fabric) map[string]int {
	t.Helper()
	counts := map[string]int{}
	err := inside(f.ns, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		sets, err := c.GetSets(&nftables.Table{Family: nftables.TableFamilyBridge, Name: tables.Inner})
		if err != nil {
			return err
		}
		for _, s := range sets {
			elements, err := c.GetSetElements(s)
			if err != nil {
				return err
			}
			counts[s.Name] = len(elements)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

func TestAttachAndDetachAreIdempotent(t *testing.T) {
	f := openFabric(t, Options{Name: "a"})
	first, err := f.Attach(t.Context(), testPort("p0"))
	if err != nil {
		t.Fatal(err)
	}
	renamed := testPort("p0")
	renamed.HostName, renamed.MAC = "other", macOf("another card").String()
	if again, err := f.Attach(t.Context(), renamed); err != nil || again != first {
		t.Errorf("with another card the port has %v, %v; want %v", again, err, first)
	}
	if ports, err := f.Ports(t.Context()); err != nil || !cmp.Equal(ports, []string{"p0"}) {
		t.Errorf("Ports lists %v, %v", ports, err)
	}
	for range 2 {
		if err := f.Detach(t.Context(), "p0"); err != nil {
			t.Fatal(err)
		}
	}
	if ports, err := f.Ports(t.Context()); err != nil || len(ports) != 0 {
		t.Errorf("Ports lists %v, %v; want none", ports, err)
	}
	if diff := cmp.Diff(map[string]int{"macs": 0, "guests": 0}, admitted(t, f)); diff != "" {
		t.Errorf("elements of the guard's sets (-want +got):\n%s", diff)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Attach(t.Context(), testPort("p0")); !resource.Is(err, resource.Unavailable) {
		t.Errorf("after Close: got error %v, want Unavailable", err)
	}
}
