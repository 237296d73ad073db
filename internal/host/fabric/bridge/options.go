package bridge

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// DefaultPrefix is the network's prefix if the options name none.
var DefaultPrefix = netip.MustParsePrefix("10.240.0.0/16")

// Options say which network to open.
type Options struct {
	Name   string       // 1 to 8 of a-z and 0-9, unique on the host; part of the names of namespace, link and tables
	Dir    string       // where leases.json and the virtual networks' files are kept; exists
	Prefix netip.Prefix // IPv4, /8 to /29; DefaultPrefix if zero
	// DNS are the host's resolvers. DHCP tells guests of the default network of them,
	// so these must be reachable through the host.
	DNS []netip.Addr
	// Resolvers are whom the resolvers of virtual networks ask, from the host: those
	// on a loopback address will do. DNS if there are none.
	Resolvers []netip.Addr
	// PublicRouted says that the outside sends public addresses to this host, so that
	// what virtual networks send from them may leave as it is. Without it, that
	// leaves with the host's address.
	PublicRouted bool
	Log          *slog.Logger // nil for none
}

const (
	bridgeLink = "muster0" // in the namespace
	uplinkLink = "uplink"  // in the namespace: its end of the veth pair
	vethPrefix = "mst-"    // on the host: its end, of any fabric
	mostMTU    = 1500
)

// names are what a fabric, or a virtual network of it, is called in the kernel.
type names struct {
	namespace string // file name in /run/netns
	veth      string // the host's end of the pair
	table     string // in the host's namespace
}

func namesOf(name string) names {
	return names{namespace: "muster-" + name, veth: vethPrefix + name, table: "muster_" + name}
}

// namesOfNetwork names a virtual network by its key. A fabric's own names have no
// dash or underscore behind its name, and its veth is shorter.
func namesOfNetwork(fabric, key string) names {
	n := namesOf(fabric)
	h := sha256.Sum256([]byte(fabric + "-" + key))
	return names{namespace: n.namespace + "-" + key, veth: fmt.Sprintf("%s%x", vethPrefix, h[:6])[:15], table: n.table + "_" + key}
}

// keyOf returns the part of names and files that stands for a virtual network.
func keyOf(uid network.UID) string {
	h := sha256.Sum256([]byte(uid))
	return fmt.Sprintf("%x", h[:6])
}

// bridgeOf names the bridge of a subnet in its virtual network's namespace.
func bridgeOf(subnet string) string {
	h := sha256.Sum256([]byte(subnet))
	return fmt.Sprintf("b%x", h[:7])
}

var validName = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// check returns the options with defaults filled in.
func (o Options) check() (Options, error) {
	if !validName.MatchString(o.Name) {
		return o, resource.Errorf(resource.Invalid, "InvalidParameter", "The fabric name %q is not 1 to 8 of a-z and 0-9.", o.Name)
	}
	if !o.Prefix.IsValid() {
		o.Prefix = DefaultPrefix
	}
	if _, err := fabric.NewPool(o.Prefix); err != nil {
		return o, err
	}
	if len(o.Resolvers) == 0 {
		o.Resolvers = o.DNS
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, a := range o.DNS {
		if !a.Is4() {
			return o, resource.Errorf(resource.Invalid, "InvalidParameter", "The resolver address %s is not an IPv4 address.", a)
		}
	}
	return o, nil
}

// macOf returns a stable, locally administered address, so that guests find the
// gateway where it was after the network was made anew.
func macOf(what string) net.HardwareAddr {
	h := sha256.Sum256([]byte(what))
	return net.HardwareAddr{0x02, h[0], h[1], h[2], h[3], h[4]}
}

// tapOf names the tap of a port: at most 15 characters, as the kernel wants.
func tapOf(port string) string {
	h := sha256.Sum256([]byte(port))
	return fmt.Sprintf("t%x", h[:7])
}
