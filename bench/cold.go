package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/host/compute/qemu"
)

const (
	tinyDir = ".cache/tiny"
	real    = "real"           // the scale set of real machines
	patient = 10 * time.Minute // for guests on a slow machine
)

// machines says in a line why real machines cannot run here, and nothing if
// they can.
func machines() error {
	if why := enclosable(); why != "" {
		return unable(why)
	}
	for _, tool := range []string{qemu.DefaultBinary, "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			return unable(tool + " is not installed (scripts/install-deps.sh bench)")
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return unable("there is no /dev/net/tun")
	}
	if _, err := os.Stat(filepath.Join(tinyDir, "manifest.json")); err != nil {
		return unable("the tiny guest is not built (make guest)")
	}
	return nil
}

// tiny is the built-in guest.
func tiny() (i qemu.Image, err error) {
	dir, err := filepath.Abs(tinyDir)
	if err != nil {
		return i, err
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	return qemu.Image{Disk: filepath.Join(dir, "disk.qcow2"), Format: "qcow2", Kernel: filepath.Join(dir, "vmlinux"), Initrd: filepath.Join(dir, "initrd"),
		CommandLine: strings.TrimSpace(string(line)), Agent: true}, err
}

// coldStart measures P1: cold starts by muster and by a script that starts the
// same processes, in turn.
func (b *bench) coldStart(ctx context.Context) (result, error) {
	if err := machines(); err != nil {
		return result{}, err
	}
	image, err := tiny()
	if err != nil {
		return result{}, err
	}
	accel, _ := qemu.ProbeAccel(ctx, image)
	s, err := b.launch(ctx, options{driver: "qemu", accel: accel})
	if err != nil {
		return result{}, err
	}
	defer s.down()
	script, err := newScript(ctx, filepath.Join(b.dir, "script"), image, accel, b.guests)
	if err != nil {
		return result{}, err
	}
	defer script.close()
	// What the first start reads from the disk is not of interest.
	if _, err := s.coldStart(ctx, 1); err != nil {
		return result{}, fmt.Errorf("muster: %w", err)
	}
	var ours, theirs []time.Duration
	var ratios []float64
	for i := range b.pairs {
		our, their, err := pair(ctx, i, func() (time.Duration, error) { return s.coldStart(ctx, b.guests) }, func() (time.Duration, error) { return script.coldStart(ctx) })
		if err != nil {
			return result{}, err
		}
		ours, theirs, ratios = append(ours, our), append(theirs, their), append(ratios, our.Seconds()/their.Seconds())
	}
	ratio := median(ratios)
	return result{figure: fmt.Sprintf("%.2f x", ratio), target: "<= 1.10 x", ok: ratio <= 1.10,
		yardstick: fmt.Sprintf("%d tiny guests, %s: muster %s, the bare script %s; medians of %d pairs in turn: %s", b.guests, strings.SplitN(accel, ",", 2)[0],
			seconds(median(ours)), seconds(median(theirs)), b.pairs, pairs(ours, theirs))}, nil
}

// pairs shows what the ratios are made of.
func pairs(ours, theirs []time.Duration) string {
	all := make([]string, len(ours))
	for i := range ours {
		all[i] = fmt.Sprintf("%.1f/%.1f", ours[i].Seconds(), theirs[i].Seconds())
	}
	return strings.Join(all, " ")
}

// pair runs both sides, each first every other time.
func pair(ctx context.Context, i int, muster, script func() (time.Duration, error)) (our, their time.Duration, err error) {
	if i%2 == 0 {
		if our, err = muster(); err != nil {
			return 0, 0, fmt.Errorf("muster: %w", err)
		}
	}
	if their, err = script(); err != nil {
		return 0, 0, fmt.Errorf("the script: %w", err)
	}
	if i%2 == 1 {
		if our, err = muster(); err != nil {
			return 0, 0, fmt.Errorf("muster: %w", err)
		}
	}
	return our, their, ctx.Err()
}

// coldStart scales a set from nothing to n, returns how long it took until all
// were running and answered, and scales it back.
func (s *server) coldStart(ctx context.Context, n int) (time.Duration, error) {
	if _, err := s.scale(ctx, real, 0); err != nil {
		return 0, err
	}
	s.fastNeighbours()
	begin := time.Now()
	if _, _, err := s.call(ctx, http.MethodPut, sets+real, model(n)); err != nil {
		return 0, err
	}
	addresses, err := s.addresses(ctx, n)
	if err != nil {
		return 0, err
	}
	if err := answering(ctx, addresses); err != nil {
		return 0, err
	}
	for {
		running, err := s.running(ctx, real)
		if err != nil {
			return 0, err
		}
		if running == n {
			break
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
	}
	took := time.Since(begin)
	_, err = s.scale(ctx, real, 0)
	return took, err
}

// addresses returns those of n instances, once they are known.
func (s *server) addresses(ctx context.Context, n int) ([]string, error) {
	for {
		_, raw, err := s.call(ctx, http.MethodGet, sets+real+"/networkInterfaces", nil)
		if err != nil {
			return nil, err
		}
		var list struct {
			Value []struct {
				Properties struct {
					IPConfigurations []struct {
						Properties struct{ PrivateIPAddress string }
					}
				}
			}
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		var all []string
		for _, nic := range list.Value {
			for _, c := range nic.Properties.IPConfigurations {
				if a := c.Properties.PrivateIPAddress; a != "" {
					all = append(all, a)
				}
			}
		}
		if len(all) == n {
			return all, nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// fastNeighbours makes the kernel look for guests more often than once a
// second, so that the figure is the guest's. Without it there is only more
// noise, for both sides.
func (s *server) fastNeighbours() {
	found, _ := filepath.Glob("/run/netns/muster-*")
	for _, ns := range found {
		_ = exec.Command("ip", "netns", "exec", filepath.Base(ns), "/bin/sh", "-c", lookOften).Run()
	}
}

const lookOften = `for f in /proc/sys/net/ipv4/neigh/*/retrans_time_ms; do echo 50 >$f; done`

// answering returns when every address answers HTTP with 200.
func answering(ctx context.Context, addresses []string) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	var wg sync.WaitGroup
	for _, a := range addresses {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := identity(ctx, a); err == nil {
					return
				}
				_ = pause(ctx, 20*time.Millisecond)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// identity asks a guest which one it is. A guest that is there answers at once,
// or as soon as its processor comes to it.
func identity(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: impatient}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/cgi-bin/id", nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("guest %s: %s", address, res.Status)
	}
	return string(said), err
}

// undisturbed reports whether a real machine lives on while its server is
// killed and started again, and the words for it.
func (b *bench) undisturbed(ctx context.Context) (bool, string) {
	if err := machines(); err != nil {
		return false, "disturbed VMs not measured: " + strings.Join(strings.Fields(err.Error()), " ")
	}
	before, after, err := b.survive(ctx)
	switch {
	case err != nil:
		return false, "disturbed VMs not measured: " + strings.Join(strings.Fields(err.Error()), " ")
	case before != after:
		return false, "1 of 1 VM disturbed"
	}
	return true, "0 of 1 VM disturbed"
}

// survive returns which boot of which process a machine was in before and after
// its server was killed and started again.
func (b *bench) survive(ctx context.Context) (before, after string, err error) {
	s, err := b.launch(ctx, options{driver: "qemu", accel: qemu.DefaultAccel})
	if err != nil {
		return "", "", err
	}
	defer s.down()
	if _, err := s.scale(ctx, real, 1); err != nil {
		return "", "", err
	}
	addresses, err := s.addresses(ctx, 1)
	if err != nil {
		return "", "", err
	}
	if before, err = life(ctx, addresses); err != nil {
		return "", "", err
	}
	s.kill()
	if err := s.start(ctx); err != nil {
		return "", "", err
	}
	// It has looked at the machine when it has carried out another change.
	if _, err := s.scale(ctx, real, 2); err != nil {
		return "", "", err
	}
	if after, err = life(ctx, addresses); err != nil {
		return "", "", err
	}
	_, err = s.scale(ctx, real, 0)
	return before, after, err
}

// life identifies the present boot of a guest.
func life(ctx context.Context, address []string) (string, error) {
	if err := answering(ctx, address); err != nil {
		return "", err
	}
	said, err := identity(ctx, address[0])
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "boot=") {
			return line, nil
		}
	}
	return "", fmt.Errorf("guest %s does not say its boot: %s", address[0], said)
}
