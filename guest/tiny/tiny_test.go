//go:build e2e && linux

// Package tiny_test boots the tiny guest under emulation and checks what its
// README promises. It needs the built image (make guest) and QEMU, no root.
package tiny_test

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	diskfs "github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"golang.org/x/crypto/ssh"
)

const customData = `#!/bin/bash
echo "hello from $(hostname) with ${BASH_VERSION%%.*}"
echo once >>/root/runs
`

// TestSeedIsHonouredAndTheDiskRemembers boots one OS disk twice. The first
// boot must take its identity from the seed, the second must find what the
// first left and must not run custom data again. A fresh overlay of the same
// image, attached as a data disk, must know nothing of it. The seed sits at
// another device each time.
func TestSeedIsHonouredAndTheDiskRemembers(t *testing.T) {
	image := builtImage(t)
	dir := t.TempDir()
	key, stranger := newKey(t), newKey(t)
	osDisk, fresh := overlay(t, image, dir+"/os.qcow2"), overlay(t, image, dir+"/fresh.qcow2")
	seed := newSeed(t, dir+"/seed.raw", map[string]string{
		"meta-data":              "instance-id: web_1.1\nlocal-hostname: web000001\n",
		"user-data":              "#cloud-config\n{}\n",
		"muster/hostname":        "web000001\n",
		"muster/admin-user":      "azureuser\n",
		"muster/authorized_keys": string(ssh.MarshalAuthorizedKey(key.PublicKey())),
		"muster/custom-data":     customData,
	})

	m := boot(t, image, osDisk, seed)
	m.await("muster-guest: ready")
	first := m.identity()
	t.Logf("first boot: HTTP after %s", m.usage())
	m.await("custom data ended status=0")
	if want := "hello from web000001 with 5\n"; !strings.Contains(m.console(), want) {
		t.Errorf("console lacks %q", want)
	}
	if first["host"] != "web000001" || first["ip"] != "10.0.2.15" {
		t.Errorf("identity = %v", first)
	}
	checkAgent(t, m)

	hostKey := ""
	if _, err := m.login("azureuser", stranger, &hostKey, "true"); err == nil {
		t.Error("a key that is not in the seed was let in")
	}
	got, err := m.login("azureuser", key, &hostKey, "id -un; echo kept >marker; sudo -n id -u")
	if want := "azureuser\n0\n"; err != nil || got != want {
		t.Errorf("ssh: got %q, %v; want %q", got, err, want)
	}
	m.shutdown("reboot")

	m = boot(t, image, osDisk, fresh, seed)
	m.await("muster-guest: ready")
	second := m.identity()
	t.Logf("second boot: HTTP after %s", m.usage())
	if second["boot"] == first["boot"] || second["host"] != first["host"] {
		t.Errorf("identity after restart = %v, before = %v", second, first)
	}
	firstHostKey := hostKey
	if got, err := m.login("azureuser", key, &hostKey, "cat marker"); err != nil || got != "kept\n" {
		t.Errorf("marker after restart: got %q, %v", got, err)
	}
	if hostKey != firstHostKey {
		t.Error("the host key changed with a restart")
	}
	if got, _ := m.run("cat /root/runs /var/log/custom-data.log"); got != "once\nhello from web000001 with 5\n" {
		t.Errorf("custom data left %q after two boots", got)
	}
	got, status := m.run("mount /dev/vdb /mnt && ls -A /mnt/root /mnt/home /mnt/etc/dropbear /mnt/var/lib/muster")
	if want := "/mnt/etc/dropbear:\n\n/mnt/home:\n\n/mnt/root:\n\n/mnt/var/lib/muster:\ndisk-sectors\n"; status != 0 || got != want {
		t.Errorf("a fresh disk holds %q (status %d), want %q", got, status, want)
	}
	m.shutdown("powerdown")
}

// checkAgent asks the guest agent for what the host side relies on.
func checkAgent(t *testing.T, m *machine) {
	t.Helper()
	var os struct{ ID, Name string }
	m.agent.into(t, &os, "guest-get-osinfo", nil)
	if os.ID != "muster-tiny" || os.Name != "Muster tiny" {
		t.Errorf("guest-get-osinfo = %+v", os)
	}
	for command, want := range map[string]string{
		"guest-get-host-name":          `"web000001"`,
		"guest-network-get-interfaces": `"ip-address": "10.0.2.15"`,
	} {
		if got := m.agent.call(t, command, nil); !bytes.Contains(got, []byte(want)) {
			t.Errorf("%s = %s, want %s in it", command, got, want)
		}
	}
	if got, status := m.run("echo out; exit 3"); got != "out\n" || status != 3 {
		t.Errorf("guest-exec = %q, status %d", got, status)
	}
}

// identity asks the guest's web server who it is.
func (m *machine) identity() map[string]string {
	m.t.Helper()
	request, err := http.NewRequestWithContext(m.ctx, http.MethodGet, "http://"+m.forward("80")+"/cgi-bin/id", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		m.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		found[name] = value
	}
	return found
}

// login runs a command over SSH and notes the server's host key. It tries again
// while the server, which makes its key after the guest is ready, is not there.
func (m *machine) login(user string, key ssh.Signer, hostKey *string, command string) (string, error) {
	m.t.Helper()
	config := &ssh.ClientConfig{
		User: user,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		// Another kind would have the guest make a key first.
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			*hostKey = ssh.FingerprintSHA256(k)
			return nil
		},
	}
	*hostKey = ""
	client, err := ssh.Dial("tcp", m.forward("22"), config)
	for ; err != nil; client, err = ssh.Dial("tcp", m.forward("22"), config) {
		select {
		case <-m.ctx.Done():
			return "", errors.Join(err, m.ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
		if *hostKey != "" {
			return "", err
		}
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	output, err := session.Output(command)
	return string(output), err
}

// builtImage returns the folder with the image, or skips.
func builtImage(t *testing.T) string {
	t.Helper()
	image, err := filepath.Abs(cmp.Or(os.Getenv("MUSTER_TINY_GUEST"), "../../.cache/tiny"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(image, "manifest.json")); err != nil {
		t.Skipf("no tiny guest in %s; make guest builds it", image)
	}
	for _, tool := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	return image
}

// overlay makes an empty layer over the image's disk: a fresh OS disk.
func overlay(t *testing.T, image, path string) string {
	t.Helper()
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2",
		"-F", "qcow2", "-b", filepath.Join(image, "disk.qcow2"), path).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	return path
}

// newSeed writes a NoCloud seed disk.
func newSeed(t *testing.T, path string, files map[string]string) string {
	t.Helper()
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	image, err := diskfs.Create(path, 4<<20, diskfs.SectorSizeDefault)
	try(err)
	image.LogicalBlocksize = 2048
	fs, err := image.CreateFilesystem(disk.FilesystemSpec{FSType: filesystem.TypeISO9660})
	try(err)
	try(fs.Mkdir("muster"))
	for name, content := range files {
		f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
		try(err)
		_, err = f.Write([]byte(content))
		try(err)
	}
	try(fs.(*iso9660.FileSystem).Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: "cidata"}))
	try(image.Close())
	return path
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}
