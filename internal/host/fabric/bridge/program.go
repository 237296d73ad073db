package bridge

import (
	"errors"
	"slices"
	"syscall"

	"github.com/google/nftables"
)

// perMessage is how many elements of a set go into one netlink attribute, whose
// length has 16 bits.
const perMessage = 500

// program replaces the tables of the thread's namespace by the given ones, all
// or nothing; no packet sees a state in between.
func program(all ...rules) error {
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

// admit lets a port send from its MAC and address, in the thread's namespace.
func admit(m member) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	macs, guests := guardSets(&nftables.Table{Family: nftables.TableFamilyBridge, Name: innerTable})
	return errors.Join(
		c.SetAddElements(macs.Set, []nftables.SetElement{m.macElement()}),
		c.SetAddElements(guests.Set, []nftables.SetElement{m.guestElement()}),
		c.Flush(),
	)
}

// expel takes admit back. nil if the port was not admitted.
func expel(m member) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	macs, guests := guardSets(&nftables.Table{Family: nftables.TableFamilyBridge, Name: innerTable})
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

// unprogram deletes a table from the thread's namespace. nil if there is none.
func unprogram(table *nftables.Table) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.AddTable(table)
	c.DelTable(table)
	return c.Flush()
}
