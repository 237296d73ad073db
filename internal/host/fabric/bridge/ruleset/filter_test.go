package ruleset

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/muster-vm/muster/internal/network"
)

func TestGuestsReachOfThePlatformOnlyWhatIsForThem(t *testing.T) {
	p := town()
	r := newRig(t, p)
	gateway := "10.0.0.1"
	for _, tt := range []struct {
		protocol network.Protocol
		from     netip.Addr
		to       string
		want     bool
	}{
		{network.ICMP, web1, gateway, true},
		{network.ICMP, web1, network.HostAddress.String(), true},
		{network.UDP, web1, network.HostAddress.String() + ":53", true},
		{network.TCP, web1, network.HostAddress.String() + ":53", true},
		{network.UDP, web1, gateway + ":67", true},
		{network.TCP, web1, network.HostAddress.String() + ":80", false},
		{network.TCP, web1, gateway + ":22", false},
		{network.UDP, web1, gateway + ":53", false},
		{network.TCP, web1, transit.String() + ":22", false},
		{network.TCP, web1, hostEnd.String() + ":22", false},
		{network.TCP, web1, "169.254.169.254:80", false},
		{network.ICMP, client, transit.String(), true},
		{network.TCP, client, transit.String() + ":22", false},
		{network.TCP, client, network.HostAddress.String() + ":53", false},
		{network.TCP, db, "10.0.77.1:80", false}, // in the space, in no subnet
	} {
		if got := r.begin(flow(tt.protocol, tt.from, tt.to)); got != tt.want {
			t.Errorf("%s %s -> %s: %v, want %v", tt.protocol, tt.from, tt.to, got, tt.want)
		}
	}
}

// TestTheHostReachesItsGuests: security groups are about who calls, and the host is
// nobody of the network.
func TestTheHostReachesItsGuests(t *testing.T) {
	r := newRig(t, town())
	r.serve(db, 22)
	var c net.Conn
	r.inside(r.net, func() (err error) {
		c, err = net.DialTimeout("tcp4", db.String()+":22", patience)
		return err
	})
	defer c.Close()
	if got, want := r.ask(c), (seen{db, netip.MustParseAddr("10.0.1.1")}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestGuestsSendOnlyAsThemselves writes frames by hand. What each of them claims is
// wrong in one way, or right.
func TestGuestsSendOnlyAsThemselves(t *testing.T) {
	p := farm()
	p.Cards[3].Forwarding = true
	second := p.Cards[0] // another address of the same card
	second.Address = netip.MustParseAddr("10.0.0.50")
	p.Cards = append(p.Cards, second)
	first := p
	first.Cards = p.Cards[:4]
	r := newRig(t, first)
	r.load(p)
	passed := r.watch()
	mac, other, forwarder := hardware(1), hardware(2), hardware(4)
	foreign := netip.MustParseAddr("172.20.0.1")
	for _, tt := range []struct {
		name  string
		from  netip.Addr
		frame []byte
		want  bool
	}{
		{"as itself", worker(0), udp(mac, worker(0), worker(1), 1000, 2000), true},
		{"from its other address", worker(0), udp(mac, second.Address, worker(1), 1000, 2000), true},
		{"from a neighbour's address", worker(0), udp(mac, worker(2), worker(1), 1000, 2000), false},
		{"from a neighbour's MAC", worker(0), udp(other, worker(0), worker(1), 1000, 2000), false},
		{"from nowhere", worker(0), udp(mac, foreign, worker(1), 1000, 2000), false},
		{"as a DHCP client", worker(0), udp(mac, netip.IPv4Unspecified(), netip.MustParseAddr("255.255.255.255"), 68, 67), true},
		{"as a DHCP server", worker(0), udp(mac, worker(0), netip.MustParseAddr("255.255.255.255"), 67, 68), false},
		{"a forwarder from anywhere", worker(3), udp(forwarder, foreign, worker(1), 1000, 2000), true},
		{"a forwarder from another MAC", worker(3), udp(mac, foreign, worker(1), 1000, 2000), false},
		{"ARP as itself", worker(0), arp(mac, mac, worker(0)), true},
		{"ARP without an address yet", worker(0), arp(mac, mac, netip.IPv4Unspecified()), true},
		{"ARP as the gateway", worker(0), arp(mac, mac, netip.MustParseAddr("10.0.0.1")), false},
		{"ARP as a forwarder for others", worker(3), arp(forwarder, forwarder, worker(0)), false},
		{"ARP with another MAC inside", worker(0), arp(mac, other, worker(0)), false},
		{"IPv6", worker(0), ethernet(mac, unix.ETH_P_IPV6, make([]byte, 60)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, fences := passed()
			fence := udp(hardware(int(tt.from.As4()[3])-3), tt.from, worker(1), 1000, 2000)
			copy(fence[42:], "seen")
			r.send(tt.from, tt.frame, fence)
			for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
				now, after := passed()
				if after == fences {
					continue // what was sent before has not been decided either
				}
				if got := now > before; got != tt.want {
					t.Errorf("passed: %v, want %v", got, tt.want)
				}
				return
			}
			t.Error("nothing arrives")
		})
	}
}

// otherTable is one of another program.
var otherTable = &nftables.Table{Family: nftables.TableFamilyBridge, Name: "other"}

// watch counts the frames that get past the guard: those that are tested, and those
// that always pass.
func (r *rig) watch() func() (tested, fences uint64) {
	r.Helper()
	r.inside(r.net, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.AddTable(otherTable)
		ch := c.AddChain(&nftables.Chain{Name: "passed", Table: otherTable, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityFilter})
		for _, magic := range []string{"test", "seen"} {
			c.AddRule(&nftables.Rule{Table: otherTable, Chain: ch, Exprs: rule(part{payload(1, expr.PayloadBaseLLHeader, 42, 4), equal([]byte(magic)), &expr.Counter{}})})
		}
		return c.Flush()
	})
	return func() (tested, fences uint64) {
		r.Helper()
		r.inside(r.net, func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			rules, err := c.GetRules(otherTable, &nftables.Chain{Name: "passed", Table: otherTable})
			if err != nil {
				return err
			}
			tested, fences = rules[0].Exprs[2].(*expr.Counter).Packets, rules[1].Exprs[2].(*expr.Counter).Packets
			return nil
		})
		return tested, fences
	}
}

// send puts frames on a guest's wire.
func (r *rig) send(from netip.Addr, frames ...[]byte) {
	r.Helper()
	r.inside(r.at(from), func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		link, err := net.InterfaceByName("eth0")
		for _, f := range frames {
			err = errors.Join(err, unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}))
		}
		return err
	})
}

func hardware(n int) net.HardwareAddr {
	mac, _ := net.ParseMAC(macOf(n))
	return mac
}

// ethernet makes a broadcast frame; the bytes from 42 on say that it is a test's.
func ethernet(from net.HardwareAddr, kind uint16, payload []byte) []byte {
	f := slices.Concat([]byte{255, 255, 255, 255, 255, 255}, from, bigEndian(kind), payload)
	f = append(f, make([]byte, max(0, 60-len(f)))...)
	copy(f[42:], "test")
	return f
}

func udp(mac net.HardwareAddr, from, to netip.Addr, source, destination uint16) []byte {
	header := slices.Concat([]byte{0x45, 0, 0, 46, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}, from.AsSlice(), to.AsSlice())
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(header[i])<<8 | uint32(header[i+1])
	}
	sum = sum>>16 + sum&0xffff
	copy(header[10:], bigEndian(^uint16(sum+sum>>16)))
	return ethernet(mac, unix.ETH_P_IP, slices.Concat(header, bigEndian(source), bigEndian(destination), bigEndian(26), bigEndian(0), make([]byte, 18)))
}

func arp(mac, says net.HardwareAddr, sender netip.Addr) []byte {
	return ethernet(mac, unix.ETH_P_ARP, slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 1}, says, sender.AsSlice(), make([]byte, 6), worker(1).AsSlice()))
}

// TestOtherTablesAreNotTouched: neither when tables are loaded nor when all are
// removed.
func TestOtherTablesAreNotTouched(t *testing.T) {
	r := newRig(t, farm(0))
	passed := r.watch()
	r.send(worker(0), udp(hardware(1), worker(0), worker(1), 1000, 2000))
	for n := uint64(0); n == 0; n, _ = passed() {
		time.Sleep(time.Millisecond)
	}
	r.load(farm(1))
	r.inside(r.net, func() error { return Load(nil) })
	if n, _ := passed(); n != 1 {
		t.Errorf("the counter of another table is %d, want 1", n)
	}
	r.inside(r.net, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		if len(tables) != 1 {
			t.Errorf("%d tables are left, want the other program's", len(tables))
		}
		return err
	})
}

func TestNobodyOutsideCallsAsOneOfTheNetwork(t *testing.T) {
	p := farm(0)
	r := newRig(t, p)
	liar := netip.MustParseAddr("10.0.0.77")
	r.guests[liar] = r.outside
	r.inside(r.outside, func() error { return configure("lo", netip.PrefixFrom(liar, 32), netip.Addr{}) })
	f := flow(network.UDP, liar, shared.String()+":80")
	if r.begin(f) || p.Decide(f).Allowed {
		t.Error("the outside may call from an address of the network")
	}
}

func TestAForwarderSendsWhatOthersGaveIt(t *testing.T) {
	p := farm()
	p.Cards[3].Forwarding = true
	r := newRig(t, p)
	foreign := netip.MustParseAddr("172.20.0.1")
	r.inside(r.at(worker(3)), func() error { // which asks for the gateway in its own name, as for what it forwards
		return errors.Join(setting("ipv4/conf/all/arp_announce", "2"), configure("lo", netip.PrefixFrom(foreign, 32), netip.Addr{}))
	})
	var heard *net.UDPConn
	r.inside(r.at(worker(1)), func() (err error) {
		heard, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 2000})
		return err
	})
	defer heard.Close()
	r.guests[foreign] = r.guests[worker(3)]
	c := r.open(flow(network.UDP, foreign, worker(1).String()+":2000"))
	_, err := c.Write([]byte("x"))
	r.check(errors.Join(err, heard.SetDeadline(time.Now().Add(patience))))
	_, from, err := heard.ReadFromUDPAddrPort(make([]byte, 10))
	if r.check(err); from.Addr() != foreign {
		t.Errorf("it comes from %s, want %s", from, foreign)
	}
}
