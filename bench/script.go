package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/host/compute/qemu"
	"github.com/muster-vm/muster/internal/host/compute/qemu/args"
	"github.com/muster-vm/muster/internal/host/guest"
)

// link is the script's bridge.
const link = "bench0"

// script is the yardstick of P1: a shell script that starts the processes that
// muster would, with disks and taps, and nothing else. The bridge, a DHCP
// server with fixed addresses and the seed disks are there before it runs.
type script struct {
	dir       string
	n         int
	dhcp      net.PacketConn
	addresses []string
}

// impatient dials anew rather than wait for a lost packet to be sent again.
func impatient(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 300 * time.Millisecond}).DialContext(ctx, network, address)
}

func newScript(ctx context.Context, dir string, image qemu.Image, accel string, n int) (*script, error) {
	s := &script{dir: dir, n: n}
	var text strings.Builder
	text.WriteString("#!/bin/sh\n# Starts tiny guests as muster does.\nset -eu\n")
	for i := range n {
		if err := os.MkdirAll(s.machine(i), 0o700); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("bare%d", i)
		if err := guest.Seed(filepath.Join(s.machine(i), "seed.iso"), guest.Setup{InstanceID: name, HostName: name, AdminUser: "muster"}); err != nil {
			return nil, err
		}
		text.WriteString(s.commands(i, image, accel))
		s.addresses = append(s.addresses, addressOf(i).String())
	}
	if err := os.WriteFile(s.path(), []byte(text.String()), 0o700); err != nil { //nolint:gosec // a program
		return nil, err
	}
	bridge := fmt.Sprintf("ip link add %s type bridge && ip addr add 10.99.0.1/16 dev %s && ip link set %s up && %s", link, link, link, lookOften)
	if out, err := exec.CommandContext(ctx, "/bin/sh", "-c", bridge).CombinedOutput(); err != nil { //nolint:gosec // see above
		return nil, fmt.Errorf("%s: %w", out, err)
	}
	var err error
	if s.dhcp, err = listenDHCP(ctx); err != nil {
		return nil, err
	}
	go serveDHCP(s.dhcp)
	return s, nil
}

func (s *script) path() string         { return filepath.Join(s.dir, "start.sh") }
func (s *script) machine(i int) string { return filepath.Join(s.dir, strconv.Itoa(i)) }

// commands start one guest in the background.
func (s *script) commands(i int, image qemu.Image, accel string) string {
	tap := fmt.Sprintf("bare%d", i)
	argv := args.Build(args.Config{Name: tap, UUID: fmt.Sprintf("00000000-0000-8000-8000-%012d", i), Accel: accel, VCPUs: 1, MemoryMB: 96,
		Kernel: &args.Kernel{Image: image.Kernel, Initrd: image.Initrd, CommandLine: image.CommandLine},
		Cards:  []args.Card{{MAC: macOf(i).String()}}, QMP: "qmp.sock", Agent: "agent.sock", Serial: "serial.log", Console: "serial.sock", PIDFile: "pid",
		Disks: []args.Disk{{ID: "os", Path: "os.qcow2", Format: "qcow2", Serial: "os"}, {ID: "seed", Path: "seed.iso", Format: "raw", Serial: "seed", ReadOnly: true}}})
	for j, a := range argv {
		if strings.HasPrefix(a, "hubport,") { // a shell cannot hand over an open tap
			argv[j] = "tap,id=net0,ifname=" + tap + ",script=no,downscript=no,vhost=off"
		}
		argv[j] = "'" + strings.ReplaceAll(argv[j], "'", `'\''`) + "'"
	}
	return fmt.Sprintf("\ncd '%s'\nqemu-img create -q -f qcow2 -F %s -b '%s' os.qcow2 1G\nip tuntap add %s mode tap vnet_hdr\nip link set %s master %s up\n%s %s </dev/null >stderr.log 2>&1 &\n",
		s.machine(i), image.Format, image.Disk, tap, tap, link, qemu.DefaultBinary, strings.Join(argv, " "))
}

// coldStart runs the script, returns how long it took until all guests
// answered, and ends them.
func (s *script) coldStart(ctx context.Context) (time.Duration, error) {
	defer s.end()
	begin := time.Now()
	if out, err := exec.CommandContext(ctx, s.path()).CombinedOutput(); err != nil { //nolint:gosec // written above
		return 0, fmt.Errorf("%s: %w", out, err)
	}
	err := answering(ctx, s.addresses)
	return time.Since(begin), err
}

// end ends the guests and removes what the script made.
func (s *script) end() {
	for i := range s.n {
		file := filepath.Join(s.machine(i), "pid")
		raw, err := os.ReadFile(file)
		if err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
				endProcess(pid)
			}
			_ = os.Remove(file)
		}
		_ = exec.Command("ip", "link", "del", fmt.Sprintf("bare%d", i)).Run() //nolint:gosec // a number
		_ = os.Remove(filepath.Join(s.machine(i), "os.qcow2"))
	}
}

// endProcess kills a process and returns when it is gone.
func endProcess(pid int) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	for p.Kill() == nil {
		time.Sleep(time.Millisecond)
	}
}

func (s *script) close() {
	s.end()
	s.dhcp.Close()                                    //nolint:errcheck // nothing was written
	_ = exec.Command("ip", "link", "del", link).Run() // see newScript
}
