package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-vm/muster/bench/plane"
	"github.com/muster-vm/muster/internal/network"
)

const (
	healthRounds = 10                      // of a run
	healthWait   = time.Minute             // ends a round that hangs
	callEvery    = time.Millisecond        // how often the client calls the frontend
	quiet        = 500 * time.Millisecond  // since a call failed; longer than any call takes
	calm         = 1100 * time.Millisecond // since a network changed, after which no change is held back
)

// healthProbe asks more often than the API lets a probe ask: how fast a member goes
// after its last answer does not depend on it.
var healthProbe = network.Probe{Name: "web", Protocol: network.ProbeHTTP, Port: onPort, Path: "/", Interval: 250 * time.Millisecond, Threshold: 2}

// health measures P9: how long after the answer that reached the threshold of a
// probe new connections to the frontend still come to the member. A client in the
// outside connects all the time, while the members' processes are killed in turn.
func (b *bench) health(ctx context.Context) (result, error) {
	if why := enclosable(); why != "" {
		return result{}, unable(why)
	}
	ctx, stop := context.WithCancel(ctx) // ends what it starts
	defer stop()
	dir := filepath.Join(b.dir, "p9")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return result{}, err
	}
	o := plane.Options{Dir: dir, Front: netip.MustParseAddr(frontAddress), Probe: healthProbe}
	for i := range members {
		o.Members = append(o.Members, member(i))
	}
	p, err := plane.Open(ctx, o)
	if err != nil {
		return result{}, err
	}
	defer p.Close()
	servers := make([]*exec.Cmd, members)
	for i := range servers {
		if servers[i], err = serve(ctx, p, i); err != nil {
			return result{}, err
		}
	}
	calls, err := callFrom(ctx, plane.Outside, frontAddress+":80")
	if err != nil {
		return result{}, err
	}
	var alone, crowded loss
	for round := range healthRounds * b.runs {
		if err := pause(ctx, calm); err != nil {
			return result{}, err
		}
		for i, l := range []*loss{&alone, &crowded} { // the second right after the first is back
			i = (i + round) % members
			if err := l.measure(ctx, p, i, servers[i], calls); err != nil {
				return result{}, fmt.Errorf("round %d: %w", round, err)
			}
			if servers[i], err = serve(ctx, p, i); err != nil {
				return result{}, err
			}
		}
	}
	if len(alone.took) == 0 || len(crowded.took) == 0 {
		return result{}, unable("the machine is too busy to answer probes")
	}
	mid := median(alone.took)
	return result{figure: fmt.Sprintf("median %s, p95 %s", millis(mid), millis(percentile(alone.took, 0.95))), target: "< 100 ms", ok: mid < 100*time.Millisecond,
		yardstick: fmt.Sprintf("from the last answer to the first moment from which no connection that an outside client begins, one every %s, comes to the member; %d rounds, one of %d members killed in each; "+
			"applying the rules takes %s, median; %.0f connections failed in it, mean; less than a second after another change of the network, which holds the next one back, median %s; "+
			"asked by HTTP every %s, threshold %d: the API's minimum of %s is when the last answer comes, not what follows",
			callEvery, len(alone.took), members, millis(median(alone.applied)), float64(alone.failed)/float64(len(alone.took)), millis(median(crowded.took)), healthProbe.Interval, healthProbe.Threshold, probeEvery)}, nil
}

// loss is what was measured when members went.
type loss struct {
	took    []time.Duration // from the answer that reached the threshold until no connection came to the member
	applied []time.Duration // of it, to apply the rules
	failed  int             // connections in that time
}

// measure kills the server of a member, and waits until clients do not notice. It
// counts nothing if the member was found wanting before: the machine is busy.
func (l *loss) measure(ctx context.Context, p *plane.Plane, i int, server *exec.Cmd, calls *calls) error {
	if err := await(ctx, "the member is taken in", func() bool { return p.State(i).Well && p.Taken(i) }); err != nil {
		return err
	}
	calls.forget()
	killed := time.Now()
	if err := server.Process.Kill(); err != nil {
		return err
	}
	_ = server.Wait() // says that it was killed
	if err := await(ctx, "the member is taken out", func() bool { return !p.State(i).Well && !p.Taken(i) }); err != nil {
		return err
	}
	if err := await(ctx, "no connection fails any more", calls.settled); err != nil {
		return err
	}
	since := p.State(i).Since
	if since.Before(killed) {
		return nil
	}
	out, failed := calls.out(since)
	if out.IsZero() {
		return errors.New("no connection came to the member that was killed")
	}
	l.took, l.applied, l.failed = append(l.took, max(0, out.Sub(since))), append(l.applied, p.LastApply()), l.failed+failed
	return nil
}

// serve starts the web server of a member, and returns once the load balancer
// chooses it.
func serve(ctx context.Context, p *plane.Plane, i int) (*exec.Cmd, error) {
	cmd := roleIn(ctx, plane.Namespace(i), roleAnswer, member(i).String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd, await(ctx, "the member is taken in", func() bool { return p.Taken(i) })
}

// await waits for a state that comes soon.
func await(ctx context.Context, what string, reached func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	for !reached() {
		if pause(ctx, 5*time.Millisecond) != nil {
			return errors.New("it does not come about that " + what)
		}
	}
	return nil
}

// call is one connection that a client has begun.
type call struct {
	begun  time.Time
	failed bool
}

// calls is what a client says of its connections.
type calls struct {
	mu  sync.Mutex
	all []call
}

// callFrom starts a client in a namespace, which connects to an address all the
// time.
func callFrom(ctx context.Context, namespace, address string) (*calls, error) {
	cmd := roleIn(ctx, namespace, roleCall, address)
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c := &calls{}
	go c.hear(said)
	return c, cmd.Start()
}

// hear reads what callAll writes.
func (c *calls) hear(said io.Reader) {
	for lines := bufio.NewScanner(said); lines.Scan(); {
		var begun int64
		var failed bool
		if _, err := fmt.Sscan(lines.Text(), &begun, &failed); err != nil {
			continue
		}
		c.mu.Lock()
		c.all = append(c.all, call{time.Unix(0, begun), failed})
		c.mu.Unlock()
	}
}

// forget drops what was heard so far.
func (c *calls) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = nil
}

// lastFailed returns when the last one that failed was begun, and when the last one
// of all was.
func (c *calls) lastFailed() (failed, last time.Time) {
	for _, a := range c.all {
		if a.begun.After(last) {
			last = a.begun
		}
		if a.failed && a.begun.After(failed) {
			failed = a.begun
		}
	}
	return failed, last
}

// settled reports whether none has failed for some time.
func (c *calls) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed, last := c.lastFailed()
	return last.Sub(failed) > quiet
}

// out returns when the first one after the last that failed was begun, zero if none
// failed; and how many failed of those that were begun after a time.
func (c *calls) out(since time.Time) (first time.Time, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, _ := c.lastFailed()
	if last.IsZero() {
		return last, 0
	}
	for _, a := range c.all {
		if a.begun.After(last) && (first.IsZero() || a.begun.Before(first)) {
			first = a.begun
		}
		if a.failed && a.begun.After(since) {
			failed++
		}
	}
	return first, failed
}

// callAll connects to an address until ctx is done, and writes of each connection
// when it was begun, in nanoseconds, and whether it failed.
func callAll(ctx context.Context, address string, to io.Writer) error {
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	var mu sync.Mutex
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		go func() {
			begun := time.Now()
			conn, err := impatient(ctx, "tcp4", address)
			if err == nil {
				conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // else its port is not free for long
				conn.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(to, begun.UnixNano(), err != nil)
		}()
	}
}
