package ruleset

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/muster-vm/muster/internal/network"
)

// Names says what the parts of a virtual network are called in its namespace.
type Names struct {
	Uplink  string                     // the link to the host
	Bridge  func(subnet string) string // of a subnet, by its name in lower case
	Tap     func(port string) string   // of a card, by its name
	Transit netip.Addr                 // the address of the uplink
}

// Table is a table and everything in it, as a value.
type Table struct {
	family  nftables.TableFamily
	name    string
	lasting bool // what is in it goes on when it is loaded again: counters, timeouts
	objects []object
	sets    []set
	chains  []chain
}

// object is what rules refer to by name.
type object struct {
	name string
	kind nftables.ObjType
	data expr.Any
}

// set is a set or a map and its elements. Table and ID are filled in when it is
// loaded.
type set struct {
	nftables.Set
	elements []nftables.SetElement
}

// chain is a chain and its rules; a hook makes it a base chain.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority int
	drops    bool // what reaches the end
	rules    [][]expr.Any
}

// prefix begins the names of the tables of this package.
const prefix = "muster"

// Priorities of chains in a hook. Connection tracking has -200.
const (
	countAt      = -120
	beginAt      = -110
	destinations = -100
	filterAt     = 0
	afterFilter  = 10
	sources      = 100
	rawAt        = -300
)

// Tables returns the tables that carry out the program. Equal programs give equal
// tables. Where two frontend ports are the same, the first one counts. It fails with
// Invalid for a card whose MAC is none.
func Tables(p network.Program, n Names) ([]Table, error) {
	guard, err := guardTable(p, n)
	if err != nil {
		return nil, err
	}
	b := builder{p: p, n: n, ranges: map[string]string{}}
	b.build()
	return []Table{guard, {family: nftables.TableFamilyINet, name: prefix, sets: b.sets, chains: b.chains}, flowTable(p)}, nil
}
