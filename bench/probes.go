package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/muster-vm/muster/internal/host/probe"
	"github.com/muster-vm/muster/internal/network"
)

const (
	probeEnv     = "MUSTER_BENCH_PROBE" // tells the process that probes the port
	probeTargets = 10_000
	probeEvery   = 5 * time.Second
	probeSpan    = 3 * probeEvery
)

// probing is what the process that probes reports.
type probing struct {
	Probes      int64         // in the time that was measured
	Processor   time.Duration // in the same time
	Late, First time.Duration // the latest of all, and of those of the first interval
	Unwell      int           // targets, of which there should be none
}

// probes measures how much of a core the health probes of many members take.
// Every target is an address of its own, behind one listener.
func (b *bench) probes(ctx context.Context) (result, error) {
	if why := enclosable(); why != "" {
		return result{}, unable(why)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "0.0.0.0:0")
	if err != nil {
		return result{}, err
	}
	defer l.Close()
	go accept(l)
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", probeEnv+"="+strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	apart, err := separate(cmd.Process.Pid)
	if err != nil {
		return result{}, err
	}
	var got probing
	decoded := json.NewDecoder(out).Decode(&got)
	if err := cmd.Wait(); err != nil {
		return result{}, err
	}
	if decoded != nil || got.Unwell > 0 {
		return result{}, fmt.Errorf("%d of %d targets are not well: %w", got.Unwell, probeTargets, decoded)
	}
	share := got.Processor.Seconds() / probeSpan.Seconds()
	return result{figure: fmt.Sprintf("%.0f %% of a core, %.0f probes/s", 100*share, float64(got.Probes)/probeSpan.Seconds()), target: "< 100 % of a core", ok: share < 1,
		yardstick: fmt.Sprintf("%d TCP targets every %s, GOMAXPROCS=1%s; the latest of all was %s late, of the first round %s; a probe costs %d us of processor", probeTargets, probeEvery, apart,
			millis(got.Late), millis(got.First), (got.Processor / time.Duration(max(got.Probes, 1))).Microseconds())}, nil
}

// accept takes connections until l is closed, and lets the other side end them.
func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}()
	}
}

// probeOnly is the process that probes. It returns the exit code.
func probeOnly(ctx context.Context, port string) int {
	got, err := probeAll(ctx, port)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(got)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: probes:", err)
		return 1
	}
	return 0
}

func probeAll(ctx context.Context, port string) (got probing, err error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return got, err
	}
	var dialer net.Dialer
	p := probe.New(probe.Options{
		Dial: func(ctx context.Context, _ network.UID, to netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", to.String())
		},
		Changed: func(network.UID) {}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		p.Run(ctx)
		close(done)
	}()
	targets := make([]network.Target, probeTargets)
	for i := range targets {
		targets[i] = network.Target{Address: netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}),
			Probe: network.Probe{Protocol: network.ProbeTCP, Port: uint16(n), Interval: probeEvery, Threshold: 2}}
	}
	p.Watch("bench", targets)
	time.Sleep(probeEvery + time.Second) // all were asked once
	before, had := p.Tally(), processor()
	time.Sleep(probeSpan)
	after := p.Tally()
	got = probing{Probes: after.Asked - before.Asked, Processor: processor() - had, Late: after.Late, First: before.Late}
	for _, t := range targets {
		t.Network = "bench"
		if well, _ := p.Healthy(t); !well {
			got.Unwell++
		}
	}
	cancel()
	<-done
	return got, nil
}

// processor returns how much processor time this process has had.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
