package dns

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/muster-vm/muster/internal/network"
)

// ttl is how long, in seconds, answers about cards may be kept: they come and go.
const ttl = 10

// Zone is what a virtual network knows of names. It does not change, so many may
// read it at once.
type Zone struct {
	domain   string // with the final dot, as all names here, and in lower case
	hosts    map[string][]netip.Addr
	names    map[netip.Addr]string
	prefixes []netip.Prefix
}

// NewZone returns the names of a network's cards. A host with several cards has the
// first address of each.
func NewZone(p network.Program) *Zone {
	z := &Zone{
		domain: dns.CanonicalName(network.Domain(p.Network)), prefixes: p.Prefixes,
		hosts: map[string][]netip.Addr{}, names: map[netip.Addr]string{},
	}
	for _, c := range p.Cards {
		name := dns.CanonicalName(c.Host)
		if _, ok := dns.IsDomainName(name); !ok || c.Host == "" {
			continue
		}
		z.names[c.Address] = name + z.domain
		if c.Primary {
			z.hosts[name] = append(z.hosts[name], c.Address)
			z.hosts[name+z.domain] = z.hosts[name]
		}
	}
	return z
}

// answer returns what the zone says to a question. It reports false for a question
// that is not about this network.
func (z *Zone) answer(q dns.Question) (rcode int, answers []dns.RR, ok bool) {
	name := dns.CanonicalName(q.Name)
	if q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY {
		return 0, nil, false
	}
	if addrs, ok := z.hosts[name]; ok {
		if q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY {
			for _, a := range addrs {
				answers = append(answers, &dns.A{Hdr: header(q.Name, dns.TypeA), A: a.AsSlice()})
			}
		}
		return dns.RcodeSuccess, answers, true
	}
	if a, ok := reversed(name); ok {
		return z.reverse(q, a)
	}
	switch {
	case name == z.domain && q.Qtype == dns.TypeSOA:
		return dns.RcodeSuccess, []dns.RR{z.authority()}, true
	case name == z.domain:
		return dns.RcodeSuccess, nil, true
	case dns.IsSubDomain(z.domain, name):
		return dns.RcodeNameError, nil, true
	}
	return 0, nil, false
}

func (z *Zone) reverse(q dns.Question, a netip.Addr) (rcode int, answers []dns.RR, ok bool) {
	name, known := z.names[a]
	switch {
	case known && (q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY):
		return dns.RcodeSuccess, []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR), Ptr: name}}, true
	case known:
		return dns.RcodeSuccess, nil, true
	case slices.ContainsFunc(z.prefixes, func(p netip.Prefix) bool { return p.Contains(a) }):
		return dns.RcodeNameError, nil, true
	}
	return 0, nil, false
}

// authority says for how long a negative answer holds.
func (z *Zone) authority() dns.RR {
	return &dns.SOA{
		Hdr: header(z.domain, dns.TypeSOA), Ns: z.domain, Mbox: "hostmaster." + z.domain,
		Serial: 1, Refresh: ttl, Retry: ttl, Expire: ttl, Minttl: ttl,
	}
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// reversed returns the IPv4 address that a name such as 4.0.0.10.in-addr.arpa. is
// about.
func reversed(name string) (netip.Addr, bool) {
	labels := dns.SplitDomainName(name)
	if len(labels) != 6 || labels[4] != "in-addr" || labels[5] != "arpa" {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
	return a, err == nil
}
