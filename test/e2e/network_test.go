//go:build e2e

package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const networks = "/resourceGroups/lab/providers/Microsoft.Network/"

// frontend is the public address of the balancer, the first of the server's range.
const frontend = "198.18.0.1"

// balanced is the body of a scale set in the subnet, behind the balancer.
func (s *server) balanced(capacity int, key string) map[string]any {
	id := func(rest string) map[string]any {
		return map[string]any{"id": "/subscriptions/" + s.admin.SubscriptionID + networks + rest}
	}
	body := web(capacity, key, "")
	profile := body["properties"].(map[string]any)["virtualMachineProfile"].(map[string]any)
	nic := profile["networkProfile"].(map[string]any)["networkInterfaceConfigurations"].([]any)[0].(map[string]any)
	config := nic["properties"].(map[string]any)["ipConfigurations"].([]any)[0].(map[string]any)
	config["properties"] = map[string]any{"subnet": id("virtualNetworks/net/subnets/front"),
		"loadBalancerBackendAddressPools": []any{id("loadBalancers/lb/backendAddressPools/be")},
		"loadBalancerInboundNatPools":     []any{id("loadBalancers/lb/inboundNatPools/ssh")}}
	return body
}

// answers asks the frontend n times which guest it is, each time on a connection
// of its own, and counts the answers. Those that fail count as "".
func answers(n int) map[string]int {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	count := map[string]int{}
	for range n {
		host := ""
		if res, err := client.Get("http://" + frontend + "/cgi-bin/id"); err == nil {
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			for word := range strings.FieldsSeq(string(b)) {
				if v, ok := strings.CutPrefix(word, "host="); ok {
					host = v
				}
			}
		}
		count[host]++
	}
	return count
}

// TestAFleetBehindALoadBalancerOutlivesItsServer makes a network and a balancer with the
// real az, and a fleet behind them. The server is killed in the middle of a scale-out: what
// ran is not disturbed, a connection through the balancer goes on, nothing is
// doubled, and the fleet converges. Then it is scaled in under a session that drains.
func TestAFleetBehindALoadBalancerOutlivesItsServer(t *testing.T) {
	s := newServer(t, "qemu", "")
	key, public := newKey(t)
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})
	a := s.login(t)
	a.makeNetwork(s)
	s.do("PUT", sets+"web", s.balanced(1, public))
	s.eventually("the frontend to answer", func() bool { return answers(1)["web000000"] == 1 })
	old := s.machines()

	held := hold(t)
	status, _, answer := s.call("PUT", sets+"web", map[string]any{"location": "local", "sku": map[string]any{"name": "Muster_T1", "capacity": 3}})
	if status != http.StatusOK {
		t.Fatalf("scale: %d %v", status, answer)
	}
	s.eventually("the scale-out to begin", func() bool { return len(s.machines()) > len(old) })
	s.kill()
	if got := answers(3); got["web000000"] != 3 {
		t.Errorf("while no server runs, the frontend answered %v", got)
	}
	s.start()
	s.eventually("the fleet to converge", func() bool {
		_, _, set := s.call("GET", sets+"web", nil)
		state := set["properties"].(map[string]any)["provisioningState"]
		if state == "Failed" {
			t.Fatalf("the scale-out failed\n%s", s.log())
		}
		return state == "Succeeded"
	})
	held.goesOn(t)
	if now := s.machines(); len(now) != 3 || !slices.Contains(now, old[0]) {
		t.Errorf("machines %v before the crash, %v after; want the same one and two more", old, now)
	}
	s.eventually("all three to be members", func() bool { return len(answers(12)) == 3 })
	if got := answers(6); got[""] > 0 {
		t.Errorf("some connections through the balancer failed: %v", got)
	}
	var ports map[string]string
	t.Run("az", func(t *testing.T) { ports = connectionStory(t, a) })
	t.Run("isolation", func(t *testing.T) { isolationStory(t, s, key, ports["0"]) })
	t.Run("drain", func(t *testing.T) { drainStory(t, s, a, key, ports["2"]) })
	s.do("DELETE", "/resourceGroups/lab", nil)
}

// makeNetwork makes a network with a security group, and a balancer, as an operator
// does.
func (a *az) makeNetwork(s *server) {
	a.run("network", "nsg", "create", "-g", "lab", "-n", "web", "-l", "local")
	a.run("network", "nsg", "rule", "create", "-g", "lab", "--nsg-name", "web", "-n", "in", "--priority", "100", "--protocol", "Tcp", "--access", "Allow", "--destination-port-ranges", "22", "80")
	a.run("network", "vnet", "create", "-g", "lab", "-n", "net", "-l", "local", "--address-prefixes", "10.1.0.0/16", "--subnet-name", "front", "--subnet-prefixes", "10.1.0.0/24", "--network-security-group", "web")
	a.run("network", "public-ip", "create", "-g", "lab", "-n", "pip", "-l", "local", "--sku", "Standard", "--version", "IPv4")
	s.do("PUT", networks+"loadBalancers/lb", map[string]any{"location": "local", "sku": map[string]any{"name": "Standard"}, "properties": map[string]any{
		"frontendIPConfigurations": []any{map[string]any{"name": "fe", "properties": map[string]any{"publicIPAddress": map[string]any{"id": "/subscriptions/" + s.admin.SubscriptionID + networks + "publicIPAddresses/pip"}}}},
		"backendAddressPools":      []any{map[string]any{"name": "be", "properties": map[string]any{"drainPeriodInSeconds": 60}}}}})
	a.run("network", "lb", "probe", "create", "-g", "lab", "--lb-name", "lb", "-n", "up", "--protocol", "Http", "--port", "80", "--path", "/")
	a.run("network", "lb", "rule", "create", "-g", "lab", "--lb-name", "lb", "-n", "http", "--protocol", "Tcp", "--frontend-port", "80", "--backend-port", "80", "--frontend-ip-name", "fe", "--backend-pool-name", "be", "--probe-name", "up")
	a.run("network", "lb", "inbound-nat-pool", "create", "-g", "lab", "--lb-name", "lb", "-n", "ssh", "--protocol", "Tcp", "--frontend-port-range-start", "50000", "--frontend-port-range-end", "50019", "--backend-port", "22", "--frontend-ip-name", "fe")
}

// held is a connection in the midst of a request.
type held struct{ net.Conn }

func hold(t *testing.T) held {
	t.Helper()
	c, err := net.Dial("tcp", frontend+":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, "GET /cgi-bin/id HTTP/1.0\r\n"); err != nil {
		t.Fatal(err)
	}
	return held{c}
}

// goesOn ends the request, and holds the guest to its answer.
func (h held) goesOn(t *testing.T) {
	t.Helper()
	_ = h.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(h, "\r\n"); err != nil {
		t.Errorf("the connection that was open when the server was killed: %v", err)
	}
	b, err := io.ReadAll(h)
	if err != nil || !strings.Contains(string(b), "host=web000000") {
		t.Errorf("the connection that was open when the server was killed got %q, %v", b, err)
	}
}

// connectionStory asks az how to reach the instances, and returns the frontend port
// of each by its id.
func connectionStory(t *testing.T, a *az) map[string]string {
	var ways map[string]string
	a.json(&ways, "vmss", "list-instance-connection-info", "-g", "lab", "-n", "web")
	if len(ways) != 3 {
		t.Fatalf("az vmss list-instance-connection-info: %v, want three ways", ways)
	}
	ports := map[string]string{}
	for name, way := range ways {
		at, port, _ := strings.Cut(way, ":")
		if at != frontend || !strings.HasPrefix(port, "500") {
			t.Errorf("%s is reached at %s", name, way)
		}
		ports[strings.TrimPrefix(name, "instance ")] = port
	}
	var nics []struct {
		IPConfigurations []struct {
			PrivateIPAddress string `json:"privateIPAddress"`
		} `json:"ipConfigurations"`
	}
	a.json(&nics, "vmss", "nic", "list", "-g", "lab", "--vmss-name", "web")
	seen := map[string]bool{}
	for _, n := range nics {
		seen[n.IPConfigurations[0].PrivateIPAddress] = strings.HasPrefix(n.IPConfigurations[0].PrivateIPAddress, "10.1.0.")
	}
	if len(seen) != 3 {
		t.Errorf("az vmss nic list shows the addresses %v, want three", seen)
	}
	return ports
}

// sshTo runs a command in the guest that a frontend port is forwarded to.
func sshTo(key, port, command string) *exec.Cmd {
	return exec.Command("ssh", "-i", key, "-p", port, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "ConnectTimeout=10", "-o", "BatchMode=yes", "muster@"+frontend, command)
}

// isolationStory has a guest try what it must not reach, and what it may.
func isolationStory(t *testing.T, s *server, key, port string) {
	probe := `for at in 10.1.0.1:22 168.63.129.16:80 169.254.169.254:80 10.240.0.1:22 169.254.17.221:22; do
	nc -w 1 ${at%:*} ${at#*:} </dev/null >/dev/null 2>&1 && echo reached $at; done
at=$(nslookup web000001 | awk '/^Address/ {at = $NF} END {print at}')
page() { printf 'GET /cgi-bin/id HTTP/1.0\r\n\r\n' | nc -w 5 $1 80 | tr ' ' '\n' | grep -o '^host=web00000[0-9]'; }
echo $at; page $at; page ` + frontend + ` >/dev/null && echo reaches its own frontend
true`
	var out []byte
	s.eventually("a session in the first guest", func() bool {
		var err error
		out, err = sshTo(key, port, probe).CombinedOutput()
		return err == nil
	})
	if got, want := strings.TrimSpace(string(out)), s.address("web", "1")+"\nhost=web000001\nreaches its own frontend"; got != want {
		t.Errorf("from a guest: %q, want %q", got, want)
	}
	for _, port := range []string{"443", "8080", "49999"} {
		if c, err := net.DialTimeout("tcp", frontend+":"+port, time.Second); err == nil {
			c.Close()
			t.Errorf("port %s of the frontend is open", port)
		}
	}
}

// drainStory scales in with az while a session in the instance that leaves goes on:
// the session ends by itself, and new connections go elsewhere meanwhile.
func drainStory(t *testing.T, s *server, a *az, key, port string) {
	session := sshTo(key, port, "hostname; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1; echo tick $i; done")
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "web000002" {
		t.Fatalf("frontend port %s leads to %q, want web000002", port, lines.Text())
	}
	a.run("vmss", "scale", "-g", "lab", "-n", "web", "--new-capacity", "2", "--no-wait")
	s.eventually("the instance to leave its pool", func() bool { return answers(8)["web000002"] == 0 })
	if n := len(s.machines()); n != 3 {
		t.Errorf("%d machines run while a session drains, want 3", n)
	}
	ticks := 0
	for lines.Scan() {
		ticks++
	}
	if err := session.Wait(); err != nil || ticks != 12 {
		t.Errorf("the session saw %d ticks of 12 and ended with %v\n%s", ticks, err, s.log())
	}
	s.eventually("the drained instance to go", func() bool { return len(s.machines()) == 2 })
}
