package ruleset

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

const (
	// perMessage is how many elements of a set go into one netlink attribute, whose
	// length has 16 bits.
	perMessage = 400
	// bufferSize is that of the socket: a transaction is sent, and its answers wait,
	// as one.
	bufferSize = 256 << 20
)

// encoding guards what the library keeps for itself while it encodes the timeouts
// of connections.
var encoding sync.Mutex

func connect() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(bufferSize), c.SetWriteBuffer(bufferSize))
	}))
}

// Load makes the tables of this package in the thread's namespace be the given
// ones, all or nothing; no packet sees a state in between. Flows that have begun go
// on, and counters stay. Other tables are not touched. Idempotent.
func Load(tables []Table) error {
	c, err := connect()
	if err != nil {
		return err
	}
	there, err := c.ListTables()
	if err != nil {
		return err
	}
	for _, old := range there {
		stays := slices.ContainsFunc(tables, func(t Table) bool { return t.lasting && t.name == old.Name && t.family == old.Family })
		if strings.HasPrefix(old.Name, prefix) && !stays {
			c.DelTable(&nftables.Table{Family: old.Family, Name: old.Name})
		}
	}
	encoding.Lock()
	defer encoding.Unlock()
	for _, t := range tables {
		var old map[string][]nftables.SetElement
		if t.lasting {
			if old, err = present(t.name); err != nil {
				return err
			}
		}
		if err := t.add(c, old); err != nil {
			return err
		}
	}
	return c.Flush()
}

// present reads the sets of a table of IPv4 in the thread's namespace by their
// names. There are none if it is not there.
func present(table string) (map[string][]nftables.SetElement, error) {
	c, err := connect()
	if err != nil {
		return nil, err
	}
	there, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil || !slices.ContainsFunc(there, func(t *nftables.Table) bool { return t.Name == table }) {
		return nil, err
	}
	sets, err := c.GetSets(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: table})
	if err != nil {
		return nil, err
	}
	elements := map[string][]nftables.SetElement{}
	for _, s := range sets {
		if elements[s.Name], err = c.GetSetElements(s); err != nil {
			return nil, err
		}
	}
	return elements, nil
}

// add puts the table into the transaction. Of what is in old, which is there by the
// name of its set, what stays is not touched.
func (t Table) add(c *nftables.Conn, old map[string][]nftables.SetElement) error {
	table := c.AddTable(&nftables.Table{Family: t.family, Name: t.name})
	for _, o := range t.objects {
		c.AddObj(&nftables.NamedObj{Table: table, Name: o.name, Type: o.kind, Obj: o.data})
	}
	sets := slices.Clone(t.sets)
	for i := range sets {
		sets[i].Table, sets[i].ID = table, uint32(i+1)
		if !t.lasting && !sets[i].Interval {
			sets[i].Size = uint32(len(sets[i].elements)) // lets the kernel take a table that need not grow
		}
		if err := c.AddSet(&sets[i].Set, nil); err != nil {
			return err
		}
	}
	chains := make([]*nftables.Chain, len(t.chains))
	for i, ch := range t.chains { // all of them before something jumps there
		chains[i] = c.AddChain(ch.value(table))
		if t.lasting {
			c.FlushChain(chains[i])
		}
	}
	for _, s := range sets {
		if err := s.fill(c, old[s.Name]); err != nil {
			return err
		}
	}
	for i, ch := range t.chains {
		for _, exprs := range ch.rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: chains[i], Exprs: exprs})
		}
	}
	return nil
}

func (ch chain) value(table *nftables.Table) *nftables.Chain {
	v := &nftables.Chain{Name: ch.name, Table: table}
	if ch.hook == nil {
		return v
	}
	policy := nftables.ChainPolicyAccept
	if ch.drops {
		policy = nftables.ChainPolicyDrop
	}
	v.Type, v.Hooknum, v.Priority, v.Policy = ch.kind, ch.hook, new(nftables.ChainPriority(ch.priority)), &policy
	return v
}

// fill puts the elements of the set into the transaction, and takes the old ones out
// that it has not.
func (s set) fill(c *nftables.Conn, old []nftables.SetElement) error {
	for some := range slices.Chunk(without(old, s.elements), perMessage) {
		if err := c.SetDeleteElements(&s.Set, keys(some)); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(without(s.elements, old), perMessage) {
		if err := c.SetAddElements(&s.Set, some); err != nil {
			return err
		}
	}
	return nil
}

func keys(elements []nftables.SetElement) (bare []nftables.SetElement) {
	for _, e := range elements {
		bare = append(bare, nftables.SetElement{Key: e.Key})
	}
	return bare
}

// without returns the elements whose keys the others have not.
func without(elements, others []nftables.SetElement) []nftables.SetElement {
	known := map[string]bool{}
	for _, e := range others {
		known[string(e.Key)] = true
	}
	var rest []nftables.SetElement
	for _, e := range elements {
		if !known[string(e.Key)] {
			rest = append(rest, e)
		}
	}
	return rest
}
