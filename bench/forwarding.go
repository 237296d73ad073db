package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/muster-vm/muster/internal/host/fabric/bridge/ruleset"
	"github.com/muster-vm/muster/internal/network"
)

// The networks of P11: an outside world, a namespace that forwards, and members of
// a load balancer. In one of them, packets are forwarded by the routes alone, and
// flows are followed, as everything must that remembers them; in another, by the
// least that spreads flows over members: one rule.
const (
	bare  = "bare"
	least = "least"
	ruled = "ruled"

	members = 2
	onPort  = 8080 // of the members
)

// frontAddress is the load balancer's, and HAProxy's.
const frontAddress = "203.0.113.10"

// town makes a network: $1 is its name, $2 how many members it has.
const town = `set -eu
for ns in out net; do ip netns add "$1-$ns"; ip -n "$1-$ns" link set lo up; done
ip link add eth0 netns "$1-out" type veth peer name uplink netns "$1-net"
ip -n "$1-out" addr add 169.254.64.1/30 dev eth0
ip -n "$1-out" addr add 198.51.100.1/32 dev lo
ip -n "$1-out" link set eth0 up
ip -n "$1-net" addr add 169.254.64.2/30 dev uplink
ip -n "$1-net" link set uplink up
ip -n "$1-net" route add default via 169.254.64.1
ip -n "$1-net" link add br-front type bridge
ip -n "$1-net" addr add 10.0.0.1/24 dev br-front
ip -n "$1-net" link set br-front up
ip netns exec "$1-net" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
for to in 10.0.0.0/24 203.0.113.10; do ip -n "$1-out" route add "$to" via 169.254.64.2 src 198.51.100.1; done
for i in $(seq 0 $(($2 - 1))); do
	ip netns add "$1-m$i"
	ip link add eth0 netns "$1-m$i" address "02:00:00:00:00:0$i" type veth peer name "t-m$i" netns "$1-net"
	ip -n "$1-net" link set "t-m$i" master br-front
	ip -n "$1-net" link set "t-m$i" type bridge_slave isolated on
	ip -n "$1-net" link set "t-m$i" up
	ip -n "$1-m$i" link set lo up
	ip -n "$1-m$i" addr add "10.0.0.$((4 + i))/24" dev eth0
	ip -n "$1-m$i" link set eth0 up
	ip -n "$1-m$i" route add default via 10.0.0.1
done
`

// leastRules is one rule, and what lets established flows pass.
const leastRules = `table ip least {
	chain destinations {
		type nat hook prerouting priority -100
		ip daddr ` + frontAddress + ` tcp dport 80 dnat to jhash ip saddr . tcp sport mod 2 map { 0 : 10.0.0.4 . 8080, 1 : 10.0.0.5 . 8080 }
	}
	chain forward {
		type filter hook forward priority 0
		ct state established accept
	}
}
`

// followed has the kernel follow flows, and decides nothing.
const followed = `table ip followed {
	chain forward {
		type filter hook forward priority 0
		ct state established accept
	}
}
`

func member(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(4 + i)}), onPort)
}

// balanced is the program of the network that is ruled: a Standard load balancer
// and a security group.
func balanced() network.Program {
	address, anybody := netip.MustParseAddr(frontAddress), network.Range{Not: true}
	p := network.Program{
		Network: "bench", Name: "bench", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []network.SubnetProgram{{Name: "front", Prefix: netip.MustParsePrefix("10.0.0.0/24")}},
		Chains: []network.Chain{{Name: "in", Direction: network.Inbound, Rules: []network.Resolved{
			{Name: "web", Access: network.Allow, Protocol: network.TCP, Source: anybody, Dest: anybody, DstPorts: []network.Ports{{First: onPort, Last: onPort}}},
			{Name: "rest", Access: network.Deny, Protocol: network.AnyProtocol, Source: anybody, Dest: anybody},
		}}},
		Routed: []netip.Addr{address},
	}
	s := network.Service{Balancer: "lb", Rule: "web", Address: address, Public: true, SKU: network.Standard, Protocol: network.TCP, Port: 80, Distribution: network.FiveTuple, Idle: 4 * time.Minute}
	for i := range members {
		p.Cards = append(p.Cards, network.Card{In: []string{"in"}, Port: network.Port{Name: fmt.Sprintf("m%d", i), MAC: fmt.Sprintf("02:00:00:00:00:%02x", i), Subnet: "front", Address: member(i).Addr()}})
		s.Members = append(s.Members, member(i))
	}
	for i := range 64 * members {
		s.Buckets = append(s.Buckets, uint16(i%members))
	}
	p.Services = []network.Service{s}
	return p
}

// govern loads the tables of the program into the namespace that it runs in.
func govern() error {
	tables, err := ruleset.Tables(balanced(), ruleset.Names{
		Uplink: "uplink", Bridge: func(subnet string) string { return "br-" + subnet }, Tap: func(port string) string { return "t-" + port },
		Transit: netip.MustParseAddr("169.254.64.2"),
	})
	if err != nil {
		return err
	}
	return ruleset.Load(tables)
}

// forwarding measures P11: how often members of a load balancer answer through the
// rules of a virtual network, against the same way straight to them. Both, and HAProxy
// where there is one, are asked in turn.
func (b *bench) forwarding(ctx context.Context) (result, error) {
	if why := enclosable(); why != "" {
		return result{}, unable(why)
	}
	ctx, stop := context.WithCancel(ctx) // ends what it starts
	defer stop()
	for _, name := range []string{bare, least, ruled} {
		if out, err := exec.CommandContext(ctx, "/bin/sh", "-c", town, "town", name, strconv.Itoa(members)).CombinedOutput(); err != nil {
			return result{}, fmt.Errorf("network %s: %w: %s", name, err, out)
		}
		for i := range members {
			if err := roleIn(ctx, fmt.Sprintf("%s-m%d", name, i), roleAnswer, member(i).String()).Start(); err != nil {
				return result{}, err
			}
		}
	}
	if out, err := roleIn(ctx, ruled+"-net", roleGovern).CombinedOutput(); err != nil {
		return result{}, fmt.Errorf("load the rules: %w: %s", err, out)
	}
	for name, rules := range map[string]string{least: leastRules, bare: followed} {
		nft := exec.CommandContext(ctx, "ip", "netns", "exec", name+"-net", "nft", "-f", "-") //nolint:gosec // our own names
		nft.Stdin = strings.NewReader(rules)
		if out, err := nft.CombinedOutput(); err != nil {
			return result{}, fmt.Errorf("load the rules of %s: %w: %s", name, err, out)
		}
	}
	proxy, err := b.haproxy(ctx)
	if err != nil {
		return result{}, err
	}
	front := []string{frontAddress + ":80"}
	direct, one, through, proxied := &way{network: bare}, &way{network: least, to: front}, &way{network: ruled, to: front}, &way{network: bare, to: front}
	for i := range members {
		direct.to = append(direct.to, member(i).String())
	}
	ways := []*way{direct, through, one}
	if proxy == "" {
		ways = append(ways, proxied)
	}
	for range rounds * b.runs {
		for _, w := range ways {
			if err := w.measure(ctx); err != nil {
				return result{}, err
			}
		}
		slices.Reverse(ways) // nobody is always the first
	}
	if proxy == "" {
		proxy = fmt.Sprintf("haproxy in tcp mode %d requests/s, %.2f x of it", median(proxied.rates), through.against(proxied))
	}
	ratio := through.against(direct)
	return result{figure: fmt.Sprintf("%.2f x, %d requests/s", ratio, median(through.rates)), target: ">= 0.95 x", ok: ratio >= 0.95,
		yardstick: fmt.Sprintf("the same way straight to the members, with connection tracking and no rules: %d requests/s; by one rule: %d, %.2f x of it; %s; %d connections that are kept alive to %d members, medians of %d pairs in turn, %s each",
			median(direct.rates), median(one.rates), through.against(one), proxy, connections, members, len(direct.rates), askFor)}, nil
}

// rounds is how often each way is measured in a run. The machine does other things
// too: many short pairs tell more than a few long ones.
const rounds = 7

// way is a way to the members, and how many requests a second it took.
type way struct {
	network string
	to      []string
	rates   []int
}

// measure asks from the outside of the network.
func (w *way) measure(ctx context.Context) error {
	cmd := roleIn(ctx, w.network+"-out", roleAsk, w.to...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ask at %s in %s: %w: %s", w.to, w.network, err, said.String())
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	w.rates = append(w.rates, max(n, 1))
	return err
}

// against returns the median of the pairs' ratios.
func (w *way) against(other *way) float64 {
	ratios := make([]float64, len(w.rates))
	for i, n := range w.rates {
		ratios[i] = float64(n) / float64(other.rates[i])
	}
	return median(ratios)
}

// roleIn is this program in a role in a namespace.
func roleIn(ctx context.Context, namespace, role string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", namespace, self}, args...)...) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// haproxy starts a HAProxy on the frontend's address in the bare network. It says in
// a line why there is none.
func (b *bench) haproxy(ctx context.Context) (why string, err error) {
	program, _ := exec.LookPath("haproxy")
	if program == "" {
		return "haproxy: not installed (scripts/install-deps.sh bench)", nil
	}
	var text strings.Builder
	text.WriteString("defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\nfrontend web\n bind " + frontAddress + ":80\n default_backend members\nbackend members\n")
	for i := range members {
		fmt.Fprintf(&text, " server m%d %s\n", i, member(i))
	}
	file := filepath.Join(b.dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return "", err
	}
	namespace := bare + "-net"
	if out, err := exec.CommandContext(ctx, "ip", "-n", namespace, "addr", "add", frontAddress+"/32", "dev", "lo").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", namespace, program, "-db", "-f", file) //nolint:gosec // our own configuration
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return "", cmd.Start()
}
