//go:build e2e && slow

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// debian is where `make guest-debian` puts the image.
func debian() string { return filepath.Join(root(), ".cache", "debian") }

const debianCustomData = `#cloud-config
write_files:
- path: /root/written
  content: by write_files
runcmd:
- echo by runcmd in $(hostname) >>/root/ran
`

// debianFacts is what a guest says of itself.
const debianFacts = `set -e
cloud-init status --wait >/dev/null || true
echo status=$(cloud-init status)
echo errors=$(python3 -c 'import json; print(json.load(open("/run/cloud-init/result.json"))["v1"]["errors"])')
echo host=$(hostname)
echo written=$(sudo cat /root/written)
echo ran=$(sudo cat /root/ran)
echo marker=$(ls /var/marker 2>/dev/null)
echo rootMB=$(df -BM --output=size / | tail -n 1 | tr -d ' M')
echo machine=$(cat /etc/machine-id)
echo keys=$(cat /etc/ssh/ssh_host_*_key.pub | cut -d' ' -f 2 | sort)
echo failed=$(systemctl list-units --state=failed --plain --no-legend)
echo debian=$(cat /etc/debian_version)
echo boot=$(systemd-analyze 2>&1)
echo slowest=$(systemd-analyze blame 2>/dev/null | head -n 12)
`

// TestDebianIsAGuestLikeAnyOther runs two instances of a real distribution and
// makes one of them anew: three boots of systemd and cloud-init. It may take a
// quarter of an hour, which is why `make test` leaves it out.
func TestDebianIsAGuestLikeAnyOther(t *testing.T) {
	if _, err := os.Stat(filepath.Join(debian(), "images.yaml")); err != nil {
		t.Fatal("the Debian image is not built (make guest-debian)")
	}
	s := prepare(t, "qemu", "")
	s.images = fmt.Sprintf("  catalogue: %[1]s/images.yaml\n  allowed: [%[1]s]\n", debian())
	s.patience = 30 * time.Minute
	s.start()
	key, public := newKey(t)
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})

	begun := time.Now()
	s.do("PUT", sets+"web", debianSet(2, public))
	t.Logf("two instances were provisioned after %s", time.Since(begun).Round(time.Second))
	first := s.debianFacts(key, "0")
	other := s.debianFacts(key, "1")
	for id, facts := range map[int]map[string]string{0: first, 1: other} {
		checkDebian(t, id, facts)
	}
	for _, own := range []string{"machine", "keys"} {
		if first[own] == other[own] {
			t.Errorf("two instances have the same %s: %s", own, first[own])
		}
	}

	s.debianSSH(key, "0", "sudo touch /var/marker && sync")
	begun = time.Now()
	s.do("POST", sets+"web/reimage", map[string]any{"instanceIds": []string{"0"}})
	t.Logf("one instance was reimaged after %s", time.Since(begun).Round(time.Second))
	again := s.debianFacts(key, "0")
	checkDebian(t, 0, again)
	t.Logf("the machine id was %s before and is %s after", first["machine"], again["machine"])
	if again["marker"] != "" {
		t.Error("reimage kept the disk")
	}
	if again["keys"] == first["keys"] {
		t.Error("reimage kept the SSH host keys")
	}
	s.do("DELETE", sets+"web", nil)
	s.do("DELETE", "/resourceGroups/lab", nil)
}

// checkDebian checks what is so in every instance.
func checkDebian(t *testing.T, id int, facts map[string]string) {
	t.Helper()
	t.Logf("instance %d: Debian %s, root file system of %s MB; %s; slowest: %s", id, facts["debian"], facts["rootMB"], facts["boot"], facts["slowest"])
	host := fmt.Sprintf("web%06d", id)
	for key, want := range map[string]string{
		"host": host, "written": "by write_files", "ran": "by runcmd in " + host,
		"status": "status: done", "errors": "[]", "failed": "",
	} {
		if facts[key] != want {
			t.Errorf("instance %d: %s is %q, want %q", id, key, facts[key], want)
		}
	}
	// The image has 2 GB, the disk 4. A file system has a little less than its disk.
	if mb, err := strconv.Atoi(facts["rootMB"]); err != nil || mb < 3700 || mb > 4096 {
		t.Errorf("instance %d: the root file system has %q MB of a disk of 4 GB", id, facts["rootMB"])
	}
	if !strings.Contains(facts["keys"], "AAAA") || len(facts["machine"]) != 32 {
		t.Errorf("instance %d: host keys %q, machine id %q", id, facts["keys"], facts["machine"])
	}
}

// debianSet is the body of a scale set of Debian guests.
func debianSet(capacity int, key string) map[string]any {
	body := web(capacity, key, debianCustomData)
	body["sku"] = map[string]any{"name": "Muster_S1", "capacity": capacity}
	profile := body["properties"].(map[string]any)["virtualMachineProfile"].(map[string]any)
	profile["storageProfile"] = map[string]any{
		"imageReference": map[string]any{"publisher": "muster", "offer": "debian", "sku": "12", "version": "latest"},
		"osDisk":         map[string]any{"createOption": "FromImage", "diskSizeGB": 4},
	}
	return body
}

// debianFacts asks a guest about itself.
func (s *server) debianFacts(key, id string) map[string]string {
	s.t.Helper()
	facts := map[string]string{}
	for line := range strings.Lines(s.debianSSH(key, id, debianFacts)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			facts[name] = value
		}
	}
	return facts
}

// debianSSH runs a command in a guest that is provisioned. Such a guest lets its
// user in: it may be slow to answer, but a refusal is an error.
func (s *server) debianSSH(key, id, command string) string {
	s.t.Helper()
	address, out := s.address("web", id), ""
	s.eventually("ssh to instance "+id, func() bool {
		var err error
		out, err = s.ssh(key, address, command)
		if err != nil && !strings.Contains(out, "timed out") {
			s.t.Fatalf("ssh to instance %s: %v\n%s\n%s", id, err, out, s.consoles())
		}
		return err == nil
	})
	return out
}

// consoles returns the end of every guest's serial console.
func (s *server) consoles() string {
	var all strings.Builder
	_ = filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == "serial.log" {
			b, _ := os.ReadFile(path)
			fmt.Fprintf(&all, "%s:\n%s\n", path, b[max(0, len(b)-8000):])
		}
		return nil
	})
	return all.String()
}
