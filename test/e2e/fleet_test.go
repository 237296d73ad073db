//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const sets = "/resourceGroups/lab/providers/Microsoft.Compute/virtualMachineScaleSets/"

// web is the body of a scale set of tiny guests.
func web(capacity int, key, customData string) map[string]any {
	os := map[string]any{"computerNamePrefix": "web", "adminUsername": "muster"}
	if key != "" {
		os["linuxConfiguration"] = map[string]any{"disablePasswordAuthentication": true,
			"ssh": map[string]any{"publicKeys": []any{map[string]any{"path": "/home/muster/.ssh/authorized_keys", "keyData": key}}}}
	}
	if customData != "" {
		os["customData"] = base64.StdEncoding.EncodeToString([]byte(customData))
	}
	return map[string]any{
		"location": "local",
		"sku":      map[string]any{"name": "Muster_T1", "capacity": capacity},
		"properties": map[string]any{
			"upgradePolicy": map[string]any{"mode": "Manual"},
			"virtualMachineProfile": map[string]any{
				"osProfile":      os,
				"storageProfile": map[string]any{"imageReference": map[string]any{"publisher": "muster", "offer": "tiny", "sku": "debian", "version": "latest"}},
				"networkProfile": map[string]any{"networkInterfaceConfigurations": []any{map[string]any{"name": "nic",
					"properties": map[string]any{"primary": true, "ipConfigurations": []any{map[string]any{"name": "ip"}}}}}},
			},
		},
	}
}

// address asks the API for the instance's private address.
func (s *server) address(set, id string) string {
	s.t.Helper()
	status, _, nics := s.call("GET", sets+set+"/virtualMachines/"+id+"/networkInterfaces", nil)
	if status != http.StatusOK {
		s.t.Fatalf("network interfaces of instance %s: %d %v", id, status, nics)
	}
	nic := nics["value"].([]any)[0].(map[string]any)
	config := nic["properties"].(map[string]any)["ipConfigurations"].([]any)[0].(map[string]any)
	return config["properties"].(map[string]any)["privateIPAddress"].(string)
}

// guest asks the guest who it is, over HTTP through the real network.
func (s *server) guest(set, id string) map[string]string {
	s.t.Helper()
	client := &http.Client{Timeout: 2 * time.Second}
	url := "http://" + s.address(set, id) + "/cgi-bin/id"
	facts := map[string]string{}
	s.eventually("instance "+id+" to answer HTTP", func() bool {
		res, err := client.Get(url)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		for word := range strings.FieldsSeq(string(b)) {
			if k, v, ok := strings.Cut(word, "="); ok {
				facts[k] = v
			}
		}
		return err == nil && res.StatusCode == http.StatusOK && facts["host"] != ""
	})
	return facts
}

// ssh runs a command in the guest as the admin user.
func (s *server) ssh(key, address, command string) (string, error) {
	out, err := exec.Command("ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "ConnectTimeout=10", "-o", "BatchMode=yes", "muster@"+address, command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// newKey makes an SSH key pair.
func newKey(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v %s", err, out)
	}
	b, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(b))
}

type instance struct {
	InstanceID        string `json:"instanceId"`
	ProvisioningState string
	Properties        struct{ ProvisioningState string }
}

// TestTheRealAzRunsARealFleet is the story of a first day: a set of one is made,
// scaled to three with the real az and back with muster, and its instance goes through every
// action, with proof from inside the guest.
func TestTheRealAzRunsARealFleet(t *testing.T) {
	s := newServer(t, "qemu", "")
	key, public := newKey(t)
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})
	s.do("PUT", sets+"web", web(1, public, "#!/bin/sh\necho custom data ran in $(hostname) > /root/custom\n"))
	first := s.guest("web", "0")
	if first["host"] != "web000000" {
		t.Errorf("the guest calls itself %q, want web000000", first["host"])
	}
	t.Run("az", func(t *testing.T) { azStory(t, s, key) })
	t.Run("muster", func(t *testing.T) { musterStory(t, s) })

	ip := s.address("web", "0")
	s.eventually("custom data to have run", func() bool {
		out, err := s.ssh(key, ip, "sudo cat /root/custom")
		return err == nil && out == "custom data ran in web000000"
	})
	t.Run("streams", func(t *testing.T) { streamStory(t, s, key) })
	if out, err := s.ssh(key, ip, "sudo touch /root/marker && sync"); err != nil {
		t.Fatalf("write a marker: %v %s", err, out)
	}
	marked := func() bool {
		var out string
		s.eventually("ssh to look for the marker", func() bool {
			var err error
			out, err = s.ssh(key, ip, "sudo ls -A /root")
			return err == nil
		})
		return slices.Contains(strings.Fields(out), "marker")
	}

	s.do("POST", sets+"web/restart", map[string]any{"instanceIds": []string{"0"}})
	second := s.guest("web", "0")
	if second["boot"] == first["boot"] || second["boot"] == "" {
		t.Errorf("restart: the boot id is %q before and %q after", first["boot"], second["boot"])
	}
	if !marked() {
		t.Error("restart lost the disk")
	}

	s.do("POST", sets+"web/reimage", map[string]any{"instanceIds": []string{"0"}})
	third := s.guest("web", "0")
	if third["ip"] != first["ip"] || third["mac"] != first["mac"] {
		t.Errorf("reimage changed the address: %v before, %v after", first, third)
	}
	if marked() {
		t.Error("reimage kept the disk")
	}
	t.Run("streams after a reimage", func(t *testing.T) { reimagedStory(t, s, key) })

	s.do("POST", sets+"web/deallocate", nil)
	if left := s.machines(); len(left) > 0 {
		t.Errorf("deallocated, and still there: %v", left)
	}
	s.do("DELETE", sets+"web", nil)
	s.do("DELETE", "/resourceGroups/lab", nil)
}

// musterStory has muster's own commands answer what az's do, word for word, and
// scale in again what az has scaled out.
func musterStory(t *testing.T, s *server) {
	t.Setenv("MUSTER_CONFIG_DIR", t.TempDir())
	run := func(want string, args ...string) string {
		t.Helper()
		out, err := s.muster(args...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("muster %s: %v, and no %q in\n%s", strings.Join(args, " "), err, want, out)
		}
		return out
	}
	run("", "login", "--state", s.dir, "--endpoint", s.endpoint, "-o", "none")
	id := strings.TrimSpace(run("/virtualMachineScaleSets/web", "vmss", "show", "--name", "web", "--resource-group", "lab", "--query", "id", "-o", "tsv"))
	run("web_0", "vmss", "list-instances", "--name", "web", "--resource-group", "lab", "-o", "table")
	run("PowerState/running", "vmss", "get-instance-view", "--name", "web", "--resource-group", "lab", "--instance-id", "0")
	run("Percentage CPU", "monitor", "metrics", "list", "--resource", id, "--metric", "Percentage CPU", "-o", "table")
	run("1", "vmss", "scale", "--name", "web", "--resource-group", "lab", "--new-capacity", "1", "--query", "sku.capacity")
	if n := len(s.machines()); n != 1 {
		t.Errorf("after scaling in %d virtual machines run, want 1", n)
	}
}

// azStory scales out with the real az and looks at the result with the commands
// that operators use.
func azStory(t *testing.T, s *server, key string) {
	a := s.login(t)
	var set struct {
		Name string
		SKU  struct{ Capacity int } `json:"sku"`
	}
	a.json(&set, "vmss", "show", "-g", "lab", "-n", "web")
	if set.Name != "web" || set.SKU.Capacity != 1 {
		t.Errorf("az vmss show: %+v", set)
	}
	a.seesLoad(s, key)
	a.run("vmss", "scale", "-g", "lab", "-n", "web", "--new-capacity", "3")
	var all []instance
	a.json(&all, "vmss", "list-instances", "-g", "lab", "-n", "web")
	if len(all) != 3 {
		t.Fatalf("az vmss list-instances shows %d instances, want 3", len(all))
	}
	for _, i := range all {
		if i.ProvisioningState != "Succeeded" {
			t.Errorf("instance %s is %s", i.InstanceID, i.ProvisioningState)
		}
	}
	if n := len(s.machines()); n != 3 {
		t.Errorf("%d virtual machines run, want 3", n)
	}
	var view struct {
		VirtualMachine struct {
			StatusesSummary []struct {
				Code  string
				Count int
			}
		}
	}
	a.json(&view, "vmss", "get-instance-view", "-g", "lab", "-n", "web")
	if got := fmt.Sprint(view.VirtualMachine.StatusesSummary); !strings.Contains(got, "{ProvisioningState/succeeded 3}") {
		t.Errorf("az vmss get-instance-view: %s", got)
	}
	for _, id := range []string{"1", "2"} {
		s.guest("web", id)
	}
}
