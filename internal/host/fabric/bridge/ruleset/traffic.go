package ruleset

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/network"
)

// front is a frontend port: a key of the sets of ports or, if it is all of them, of
// the sets of addresses.
type front struct {
	balancer network.UID
	rule     string
	key      []byte
	protocol byte // 0: both, on all ports
	idle     time.Duration
}

// fronts lists the frontend ports of a program, each once.
func fronts(p network.Program) (all []front) {
	known := map[string]bool{}
	add := func(f front) {
		if !known[string(f.key)] {
			all = append(all, f)
		}
		known[string(f.key)] = true
	}
	for _, f := range p.Forwards {
		for _, number := range numbers(f.Protocol) {
			add(front{f.Balancer, f.Rule, frontendOf(f.Address, number, f.Port), number, f.Idle})
		}
	}
	for _, s := range p.Services {
		if allPorts(s) {
			add(front{s.Balancer, s.Rule, s.Address.AsSlice(), 0, s.Idle})
			continue
		}
		for _, number := range numbers(s.Protocol) {
			add(front{s.Balancer, s.Rule, frontendOf(s.Address, number, s.Port), number, s.Idle})
		}
	}
	return all
}

// flowsTable is the name of the table that lasts.
const flowsTable = prefix + "-flows"

// Sets with a counter for each frontend port, and for each address with all ports.
const (
	countPorts     = "ports"
	countAddresses = "addresses"
	synPorts       = "syn-ports"
	synAddresses   = "syn-addresses"
)

func counterSet(name string) set {
	s := set{Set: nftables.Set{Name: name, Counter: true, KeyType: nftables.TypeIPAddr}}
	if name == countPorts || name == synPorts {
		s.KeyType, s.Concatenation = frontendKey, true
	}
	return s
}

// flowTable is the table of what lasts as long as flows do: the counters of
// frontend ports, and the timeouts of idle flows, which a connection refers to.
func flowTable(p network.Program) Table {
	t := Table{family: nftables.TableFamilyIPv4, name: flowsTable, lasting: true}
	counters := map[string]*set{}
	for _, name := range []string{countPorts, countAddresses, synPorts, synAddresses} {
		counters[name] = new(counterSet(name))
	}
	for _, f := range fronts(p) {
		names := []string{countPorts, synPorts}
		if f.protocol == 0 {
			names = []string{countAddresses, synAddresses}
		}
		for _, name := range names {
			counters[name].elements = append(counters[name].elements, nftables.SetElement{Key: f.key})
		}
	}
	for _, name := range []string{countPorts, countAddresses, synPorts, synAddresses} {
		t.sets = append(t.sets, *counters[name])
	}
	called := part{&expr.Ct{Key: expr.CtKeyDST, Register: 1}} // of the original direction
	port := part{layer4(second), &expr.Ct{Key: expr.CtKeyPROTODST, Register: third}}
	t.chains = append(t.chains,
		chain{name: "syns", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting, priority: countAt, rules: [][]expr.Any{
			rule(syn, frontend, isIn(synPorts), accept),
			rule(syn, destination, isIn(synAddresses), accept),
		}},
		chain{name: "count", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward, priority: afterFilter, rules: [][]expr.Any{
			rule(unmarked(markBalanced), accept),
			rule(called, port, isIn(countPorts), accept),
			rule(called, isIn(countAddresses), accept),
		}},
	)
	t.timeouts(fronts(p))
	return t
}

// timeouts adds an object for each idle timeout, and the chain that gives a new
// flow that of its frontend port.
func (t *Table) timeouts(all []front) {
	idle := chain{name: "idle", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting, priority: countAt + 1}
	ports, addresses := map[string][]nftables.SetElement{}, map[string][]nftables.SetElement{}
	objects := map[string]object{}
	for _, f := range all {
		if f.idle <= 0 {
			continue
		}
		protocols := []byte{f.protocol}
		if f.protocol == 0 {
			protocols = numbers(network.AnyProtocol)
		}
		for _, number := range protocols {
			o := timeout(number, f.idle)
			objects[o.name] = o
			into := ports
			if f.protocol == 0 {
				into = addresses
			}
			into[o.name] = append(into[o.name], nftables.SetElement{Key: f.key})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		o := objects[name]
		t.objects = append(t.objects, o)
		reference := part{&expr.Objref{Type: int(o.kind), Name: name}}
		t.sets = append(t.sets,
			set{Set: nftables.Set{Name: name, KeyType: frontendKey, Concatenation: true}, elements: ports[name]},
			set{Set: nftables.Set{Name: name + "-all", KeyType: nftables.TypeIPAddr}, elements: addresses[name]})
		number := o.data.(*expr.CtTimeout).L4Proto
		idle.rules = append(idle.rules,
			rule(protocol(number), frontend, isIn(name), reference, accept),
			rule(protocol(number), destination, isIn(name+"-all"), reference))
	}
	t.chains = append(t.chains, idle)
}

// timeout returns the object that lets idle flows be forgotten after a time. All
// states have a value of their own, for the library fills in what the last object
// had where there is none.
func timeout(number byte, idle time.Duration) object {
	seconds := uint32(idle / time.Second)
	policy, kind := expr.CtStatePolicyTimeout{
		expr.CtStateTCPSYNSENT: 120, expr.CtStateTCPSYNRECV: 60, expr.CtStateTCPESTABLISHED: seconds,
		expr.CtStateTCPFINWAIT: 120, expr.CtStateTCPCLOSEWAIT: 60, expr.CtStateTCPLASTACK: 30, expr.CtStateTCPTIMEWAIT: 120,
		expr.CtStateTCPCLOSE: 10, expr.CtStateTCPSYNSENT2: 120, expr.CtStateTCPRETRANS: min(300, seconds), expr.CtStateTCPUNACK: min(300, seconds),
	}, "tcp"
	if number == unix.IPPROTO_UDP {
		policy, kind = expr.CtStatePolicyTimeout{expr.CtStateUDPUNREPLIED: min(30, seconds), expr.CtStateUDPREPLIED: seconds}, "udp"
	}
	return object{name: fmt.Sprintf("idle-%s-%d", kind, seconds), kind: nftables.ObjTypeCtTimeout,
		data: &expr.CtTimeout{L3Proto: unix.NFPROTO_IPV4, L4Proto: number, Policy: policy}}
}

// Traffic returns what went through the frontend ports of the program, in its
// order, one entry for each rule of a balancer.
func Traffic(p network.Program) ([]fabric.FrontendTraffic, error) {
	there, err := present(flowsTable)
	if err != nil {
		return nil, fmt.Errorf("read the counters of frontends: %w", err)
	}
	counts := map[string]map[string]expr.Counter{}
	for name, elements := range there {
		counts[name] = map[string]expr.Counter{}
		for _, e := range elements {
			if e.Counter != nil {
				counts[name][string(e.Key)] = *e.Counter
			}
		}
	}
	type id struct {
		balancer network.UID
		rule     string
	}
	index := map[id]int{}
	var all []fabric.FrontendTraffic
	for _, f := range fronts(p) {
		i, ok := index[id{f.balancer, f.rule}]
		if !ok {
			i = len(all)
			index[id{f.balancer, f.rule}] = i
			all = append(all, fabric.FrontendTraffic{Balancer: f.balancer, Rule: f.rule})
		}
		data, syns := counts[countPorts], counts[synPorts]
		if f.protocol == 0 {
			data, syns = counts[countAddresses], counts[synAddresses]
		}
		all[i].Bytes += int64(data[string(f.key)].Bytes)
		all[i].Packets += int64(data[string(f.key)].Packets)
		all[i].SYNs += int64(syns[string(f.key)].Packets)
	}
	return all, nil
}
