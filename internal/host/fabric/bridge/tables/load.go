package tables

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
)

// perMessage is how many elements of a set go into one netlink attribute, whose
// length has 16 bits.
const perMessage = 500

// Load replaces the tables of the thread's namespace by the given ones, all
// or nothing; no packet sees a state in between.
func Load(all ...Table) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	ids := uint32(0) // of sets; the library's own numbers are not safe for concurrent use
	for _, rs := range all {
		c.AddTable(rs.table) // so that there is one to delete
		c.DelTable(rs.table)
		c.AddTable(rs.table)
		for _, s := range rs.sets {
			ids++
			s.ID = ids
			if err := c.AddSet(s.Set, nil); err != nil {
				return err
			}
			for some := range slices.Chunk(s.elements, perMessage) {
				if err := c.SetAddElements(s.Set, some); err != nil {
					return err
				}
			}
		}
		for _, ch := range rs.chains {
			c.AddChain(ch.Chain)
			for _, exprs := range ch.rules {
				c.AddRule(&nftables.Rule{Table: rs.table, Chain: ch.Chain, Exprs: exprs})
			}
		}
	}
	return c.Flush()
}

// Admit lets a port send from its MAC and address, in the thread's namespace.
func Admit(m Member) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	macs, guests := guardSets(&nftables.Table{Family: nftables.TableFamilyBridge, Name: Inner})
	return errors.Join(
		c.SetAddElements(macs.Set, []nftables.SetElement{m.macElement()}),
		c.SetAddElements(guests.Set, []nftables.SetElement{m.guestElement()}),
		c.Flush(),
	)
}

// Expel takes Admit back. nil if the port was not admitted.
func Expel(m Member) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	macs, guests := guardSets(&nftables.Table{Family: nftables.TableFamilyBridge, Name: Inner})
	err = errors.Join(
		c.SetDeleteElements(macs.Set, []nftables.SetElement{m.macElement()}),
		c.SetDeleteElements(guests.Set, []nftables.SetElement{m.guestElement()}),
		c.Flush(),
	)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// Remove deletes an inet table from the thread's namespace. nil if there is none.
func Remove(name string) error {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: name}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.AddTable(table)
	c.DelTable(table)
	return c.Flush()
}

// Below lists what follows a prefix in the names of the inet tables of the
// thread's namespace that begin with it.
func Below(prefix string) (rest []string, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if key, ok := strings.CutPrefix(t.Name, prefix); ok {
			rest = append(rest, key)
		}
	}
	return rest, nil
}
