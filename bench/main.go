// Command bench measures the product against its targets. Every line names the
// target, the figure, the bound and the yardstick, where one was measured in
// the same run; "ok" means that all of the target holds, "SHORT" that it does
// not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// result is the measurement of one target.
type result struct {
	figure    string // what was measured, with its unit
	target    string // the bound, as in "< 5 s"
	yardstick string // a peer's or the physical limit's figure of the same run, and what else belongs to the figure
	ok        bool
}

// target is one line of the report.
type target struct {
	name string
	run  func(b *bench, ctx context.Context) (result, error)
}

// targets in the order of the report. Those on 100,000 instances share a fleet.
var targets = []target{
	{"P1", (*bench).coldStart}, {"P3", (*bench).scaleOut}, {"P4", (*bench).memory}, {"P5", (*bench).page},
	{"P6", (*bench).wholeList}, {"P9", (*bench).health}, {"P10", (*bench).restart}, {"P11", (*bench).forwarding}, {"P12", (*bench).getRate},
	{"probes", (*bench).probes},
}

// bench is one run of the benchmark.
type bench struct {
	dir    string // for everything that it makes
	guests int    // of P1, at once
	pairs  int    // of P1
	runs   int    // of what is short
	fleet  *fleet // of 100,000; nil until a target needs it
}

func main() {
	// The processes that this one starts end with it: the kernel ties that to
	// the thread which starts them.
	runtime.LockOSThread()
	os.Exit(run())
}

// run returns the exit code.
func run() int {
	only := flag.String("only", "", "comma-separated targets, such as P3,P4; all if empty")
	b := bench{dir: os.Getenv(dirEnv)}
	flag.IntVar(&b.guests, "guests", 3, "real virtual machines of P1")
	flag.IntVar(&b.pairs, "pairs", 3, "cold starts by muster and by the script of P1")
	flag.IntVar(&b.runs, "runs", 3, "runs of what is short; the median counts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if port := os.Getenv(probeEnv); port != "" {
		return probeOnly(ctx, port)
	}
	if role := os.Getenv(roleEnv); role != "" {
		return play(ctx, role, flag.Args())
	}
	if b.dir == "" {
		return enclose(ctx)
	}
	names := strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	if err := b.report(ctx, names); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// report measures the named targets, all if there are none, and writes a line
// for each.
func (b *bench) report(ctx context.Context, only []string) error {
	for _, name := range only {
		if !slices.ContainsFunc(targets, func(t target) bool { return t.name == name }) {
			return fmt.Errorf("there is no target %q", name)
		}
	}
	out, err := os.Create(filepath.Join("bench", "results.txt"))
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Fprintln(out, header())
	defer b.closeFleet()
	var failed error
	for _, t := range targets {
		if len(only) > 0 && !slices.Contains(only, t.name) {
			continue
		}
		r, err := t.run(b, ctx)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		line := fmt.Sprintf("%s not measured: %v", t.name, err)
		if err == nil {
			line = r.line(t.name)
		} else if !errors.As(err, new(unable)) {
			failed = fmt.Errorf("%s failed", t.name)
		}
		fmt.Println(line)
		fmt.Fprintln(out, line)
	}
	return failed
}

func (r result) line(name string) string {
	verdict := "SHORT"
	if r.ok {
		verdict = "ok"
	}
	s := fmt.Sprintf("%s %s, target %s, %s", name, r.figure, r.target, verdict)
	if r.yardstick != "" {
		s += " (" + r.yardstick + ")"
	}
	return s
}

// header says on what, of what and when.
func header() string {
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude", "*").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
				cpu = strings.TrimSpace(v)
				break
			}
		}
	}
	load, _ := os.ReadFile("/proc/loadavg") // what else the machine does
	return fmt.Sprintf("# %s, %d cores, load average %.4s at the start, %s, commit %s, %s", cpu, runtime.NumCPU(), load, runtime.Version(), strings.TrimSpace(string(commit)),
		time.Now().UTC().Format(time.RFC3339))
}

// median returns the middle value, the lower one of two.
func median[T int | float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// percentile returns the value that p of all values do not exceed.
func percentile(values []time.Duration, p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
