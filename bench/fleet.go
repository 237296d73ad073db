package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	small = 10_000
	large = 100_000
	big   = "big" // the scale set of 100,000
)

// fleet is a server with 100,000 simulated instances.
type fleet struct {
	*server
	scaleOut time.Duration
	empty    memory   // before there was an instance
	pages    []string // links to the pages of the whole list
}

// large returns the server with 100,000 instances, which it makes at the first
// call.
func (b *bench) large(ctx context.Context) (*fleet, error) {
	if b.fleet != nil {
		return b.fleet, nil
	}
	s, err := b.launch(ctx, options{driver: "sim"})
	if err != nil {
		return nil, err
	}
	f := &fleet{server: s}
	if f.scaleOut, f.empty, err = s.grow(ctx, big, large); err != nil {
		s.kill()
		return nil, err
	}
	b.fleet = f
	return f, nil
}

func (b *bench) closeFleet() {
	if b.fleet != nil {
		b.fleet.kill()
	}
}

// grow makes an empty set and scales it out, and returns how long that took
// and what the server held before.
func (s *server) grow(ctx context.Context, set string, to int) (took time.Duration, before memory, err error) {
	if _, err = s.scale(ctx, set, 0); err != nil {
		return
	}
	if before, err = memoryOf(s.cmd.Process.Pid); err != nil {
		return
	}
	if took, err = s.scale(ctx, set, to); err != nil {
		return
	}
	n, err := s.running(ctx, set)
	if err == nil && n != to {
		err = fmt.Errorf("the operation succeeded with %d of %d instances running", n, to)
	}
	return took, before, err
}

// scaleOut measures P3: from the write of the capacity to the success of its
// operation, with machines that boot at once.
func (b *bench) scaleOut(ctx context.Context) (result, error) {
	var shorter []time.Duration
	for range b.runs {
		s, err := b.launch(ctx, options{driver: "sim"})
		if err != nil {
			return result{}, err
		}
		took, _, err := s.grow(ctx, "small", small)
		s.kill()
		if err != nil {
			return result{}, err
		}
		shorter = append(shorter, took)
	}
	f, err := b.large(ctx)
	if err != nil {
		return result{}, err
	}
	ten := median(shorter)
	return result{figure: fmt.Sprintf("%s / %s", seconds(ten), seconds(f.scaleOut)), target: "< 3 s / < 30 s",
		yardstick: fmt.Sprintf("simulated set 0 -> 10,000, median of %d / -> 100,000, one run", len(shorter)),
		ok:        ten < 3*time.Second && f.scaleOut < 30*time.Second}, nil
}

// memory is what a process holds, in KiB.
type memory struct{ anonymous, file int }

// memoryOf reads what the kernel says of a process.
func memoryOf(pid int) (m memory, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(raw)) {
		word := strings.Fields(line)
		if len(word) < 2 {
			continue
		}
		n, _ := strconv.Atoi(word[1])
		switch word[0] {
		case "RssAnon:":
			m.anonymous = n
		case "RssFile:":
			m.file = n
		}
	}
	if m.anonymous == 0 {
		return m, errors.New("the kernel does not say how much memory is anonymous")
	}
	return m, nil
}

// settled is how long memory is given to come to rest: the runtime collects
// garbage every two minutes at least, and gives back what it does not need.
const settled = 150 * time.Second

// memory measures P4 once the garbage of the scale-out is gone.
func (b *bench) memory(ctx context.Context) (result, error) {
	f, err := b.large(ctx)
	if err != nil {
		return result{}, err
	}
	if err := pause(ctx, settled); err != nil {
		return result{}, err
	}
	m, err := memoryOf(f.cmd.Process.Pid)
	if err != nil {
		return result{}, err
	}
	rings, err := f.rings(ctx)
	if err != nil {
		return result{}, err
	}
	per, each := float64(m.anonymous-f.empty.anonymous)/large, float64(rings)/1024/large
	return result{figure: fmt.Sprintf("%.2f KB, and %.2f KB of metric rings", per-each, each), target: "< 3 KB", ok: per-each < 3,
		yardstick: fmt.Sprintf("growth of RssAnon per instance, with the simulated hosts and etcd in the same process: %d -> %d MB, and RssFile, which is etcd's mapped file and the program, %d -> %d MB",
			f.empty.anonymous>>10, m.anonymous>>10, f.empty.file>>10, m.file>>10)}, nil
}

// rings asks the server how many bytes the samples of instances take.
func (s *server) rings(ctx context.Context) (n int, err error) {
	_, page, err := s.call(ctx, http.MethodGet, s.endpoint+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(page)) {
		if value, ok := strings.CutPrefix(line, "muster_metrics_ring_bytes "); ok {
			bytes, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int(bytes), err
		}
	}
	return 0, errors.New("the server does not say what metric rings take")
}

// restart measures P10: the server is killed and started again, and the clock
// stops when it has made the row of a capacity that is one higher.
func (b *bench) restart(ctx context.Context) (result, error) {
	f, err := b.large(ctx)
	if err != nil {
		return result{}, err
	}
	f.kill()
	if err := f.start(ctx); err != nil {
		return result{}, err
	}
	if _, _, err := f.call(ctx, http.MethodPut, sets+big, model(large+1)); err != nil {
		return result{}, err
	}
	if err := f.await(ctx, large); err != nil {
		return result{}, err
	}
	took := time.Since(f.started)
	untouched, note := b.undisturbed(ctx)
	return result{figure: fmt.Sprintf("%s, %s", seconds(took), note), target: "< 10 s, no VM disturbed", ok: took < 10*time.Second && untouched,
		yardstick: fmt.Sprintf("kill -9 at 100,000 rows; ready after %s; until the row of one more instance is there, while 100,000 simulated machines, which died with the process, are made again",
			seconds(f.ready))}, nil
}

// await returns when the instance exists.
func (s *server) await(ctx context.Context, id int) error {
	for {
		res, _, err := s.call(ctx, http.MethodGet, fmt.Sprintf("%s%s/virtualMachines/%d", sets, big, id), nil)
		if err == nil {
			return nil
		}
		if res == nil || res.StatusCode != http.StatusNotFound {
			return err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}
