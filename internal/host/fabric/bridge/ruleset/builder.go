package ruleset

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/network"
)

// Types of keys and data.
var (
	frontendKey = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService)
	pairKey     = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)
	memberData  = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
)

// builder collects the sets and chains of the main table.
type builder struct {
	p      network.Program
	n      Names
	sets   []set
	chains []chain
	ranges map[string]string // name of the interval set with these elements
}

func (b *builder) build() {
	b.links()
	b.cards()
	b.groups()
	b.filter()
	b.nat()
}

// set adds a set or map. Its elements may follow.
func (b *builder) set(s nftables.Set, elements ...nftables.SetElement) {
	s.Concatenation = strings.Contains(s.KeyType.Name, " . ")
	s.IsMap = s.DataType.Name != ""
	b.sets = append(b.sets, set{Set: s, elements: elements})
}

// base adds a chain of a hook.
func (b *builder) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority int, rules ...[]expr.Any) {
	b.chains = append(b.chains, chain{name: name, kind: kind, hook: hook, priority: priority, rules: rules})
}

// chain adds one that others jump to.
func (b *builder) chain(name string, rules ...[]expr.Any) {
	b.chains = append(b.chains, chain{name: name, rules: rules})
}

// Names of sets.
const (
	bridges    = "bridges"
	transports = "transports"
)

// links makes the sets of the subnets' bridges, and of TCP and UDP.
func (b *builder) links() {
	var names []nftables.SetElement
	for _, s := range b.p.Subnets {
		names = append(names, nftables.SetElement{Key: linkName(b.n.Bridge(s.Name))})
	}
	b.set(nftables.Set{Name: bridges, KeyType: nftables.TypeIFName}, names...)
	b.set(nftables.Set{Name: transports, KeyType: nftables.TypeInetProto}, nftables.SetElement{Key: []byte{unix.IPPROTO_TCP}}, nftables.SetElement{Key: []byte{unix.IPPROTO_UDP}})
}

// cards makes the maps from the address of a card to the security groups of both
// directions. Cards with the same groups share a chain. Allowed flows return to
// the caller on the way out, and are accepted on the way in.
func (b *builder) cards() {
	ins, inOf := lists(b.p.Cards, func(c network.Card) []string { return c.In })
	outs, outOf := outLists(b.p)
	var to, from, foreign []nftables.SetElement
	for i, c := range b.p.Cards {
		to = append(to, nftables.SetElement{Key: c.Address.AsSlice(), VerdictData: gotoChain("in-%d", inOf[i])})
		from = append(from, nftables.SetElement{Key: c.Address.AsSlice(), VerdictData: gotoChain("out-%d", outOf[i])})
	}
	for i, names := range outs {
		foreign = append(foreign, nftables.SetElement{Key: native(i + 1), VerdictData: gotoChain("out-%d", i+1)})
		b.chain(fmt.Sprintf("out-%d", i+1), jumps(names)...)
	}
	for i, names := range ins {
		rules := append(jumps(names), rule(accept))
		if len(names) == 0 {
			rules = [][]expr.Any{rule(in(b.n.Uplink), mark(markStandard), drop), rule(accept)}
		}
		b.chain(fmt.Sprintf("in-%d", i+1), rules...)
	}
	b.set(nftables.Set{Name: "in", KeyType: nftables.TypeIPAddr, DataType: nftables.TypeVerdict}, to...)
	b.set(nftables.Set{Name: "out", KeyType: nftables.TypeIPAddr, DataType: nftables.TypeVerdict}, from...)
	b.set(nftables.Set{Name: "foreign", KeyType: nftables.TypeMark, DataType: nftables.TypeVerdict}, foreign...)
	b.chain("depart",
		rule(source, follow("out")),
		rule(part{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}}, follow("foreign")), // the guard's mark of a card that may forward
		rule(drop),
	)
	b.chain("arrive", rule(destination, follow("in")), rule(drop))
}

// lists numbers the different lists of chains from 1, and says which one each card
// has.
func lists(cards []network.Card, of func(network.Card) []string) (all [][]string, numbers []int) {
	known := map[string]int{}
	for _, c := range cards {
		k := strings.Join(of(c), " ")
		if known[k] == 0 {
			all = append(all, of(c))
			known[k] = len(all)
		}
		numbers = append(numbers, known[k])
	}
	return all, numbers
}

func outLists(p network.Program) (all [][]string, numbers []int) {
	return lists(p.Cards, func(c network.Card) []string { return c.Out })
}

func gotoChain(format string, number int) *expr.Verdict {
	return &expr.Verdict{Kind: expr.VerdictGoto, Chain: fmt.Sprintf(format, number)}
}

func jumps(groups []string) (rules [][]expr.Any) {
	for _, name := range groups {
		rules = append(rules, rule(jump(groupChain(name))))
	}
	return rules
}

// inRange matches if the address in register 1 is in the range. ok is false if
// nothing can be.
func (b *builder) inRange(address part, r network.Range) (match part, ok bool) {
	whole := slices.ContainsFunc(r.Prefixes, func(p netip.Prefix) bool { return p.Bits() == 0 })
	switch {
	case whole:
		return nil, !r.Not
	case len(r.Prefixes) == 0:
		return nil, r.Not
	case len(r.Prefixes) == 1 && !r.Not:
		return rule(address, within(r.Prefixes[0])), true
	}
	name := b.interval(nftables.TypeIPAddr, addressIntervals(r.Prefixes))
	if r.Not {
		return rule(address, notIn(name)), true
	}
	return rule(address, isIn(name)), true
}

// inPorts matches if the port in register 1 is in a range of the list.
func (b *builder) inPorts(port part, list []network.Ports) part {
	if len(list) == 1 && list[0].First == list[0].Last {
		return rule(port, part{equal(bigEndian(list[0].First))})
	}
	var spans [][2]uint32
	for _, p := range list {
		spans = append(spans, [2]uint32{uint32(p.First), uint32(p.Last) + 1})
	}
	return rule(port, isIn(b.interval(nftables.TypeInetService, intervals(spans, 2))))
}

// interval returns the name of a set with these elements, which rules share.
func (b *builder) interval(kind nftables.SetDatatype, elements []nftables.SetElement) string {
	k := fmt.Sprint(kind.Name, elements)
	if b.ranges[k] == "" {
		b.ranges[k] = fmt.Sprintf("range-%d", len(b.ranges)+1)
		b.set(nftables.Set{Name: b.ranges[k], KeyType: kind, Interval: true}, elements...)
	}
	return b.ranges[k]
}

func addressIntervals(prefixes []netip.Prefix) []nftables.SetElement {
	var spans [][2]uint32
	for _, p := range prefixes {
		first := binary.BigEndian.Uint32(p.Masked().Addr().AsSlice())
		spans = append(spans, [2]uint32{first, first + uint32(uint64(1)<<(32-p.Bits()))}) // 0 after the last address
	}
	return intervals(spans, 4)
}

// intervals returns the elements of an interval set: where each span begins, and
// the first number after it. Spans that touch become one. What reaches to the
// last number has no end.
func intervals(spans [][2]uint32, size int) (elements []nftables.SetElement) {
	beyond := uint64(1) << (8 * size)
	end := func(s [2]uint32) uint64 {
		if s[1] == 0 {
			return beyond
		}
		return uint64(s[1])
	}
	spans = slices.SortedFunc(slices.Values(spans), func(a, b [2]uint32) int { return int(int64(a[0]) - int64(b[0])) })
	key := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n)[8-size:] }
	for i := 0; i < len(spans); {
		first, last := uint64(spans[i][0]), end(spans[i])
		for i++; i < len(spans) && uint64(spans[i][0]) <= last; i++ {
			last = max(last, end(spans[i]))
		}
		elements = append(elements, nftables.SetElement{Key: key(first)})
		if last < beyond {
			elements = append(elements, nftables.SetElement{Key: key(last), IntervalEnd: true})
		}
	}
	return elements
}
