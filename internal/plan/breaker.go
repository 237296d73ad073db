package plan

import (
	"fmt"
	"time"

	"github.com/muster-vm/muster/internal/vmss"
)

// The breaker opens when this many instances (or a tenth of the capacity, if
// that is more) have failed before they ever came up. While it is open nothing
// is created; failed rows stay, are retried by their hosts and keep counting
// toward the capacity.
const (
	breakerFailures = 3
	breakerPause    = time.Minute
	breakerMaxPause = 30 * time.Minute
)

// throughBreaker returns how many of n creates may go on, and opens or closes
// the breaker.
func (d *draft) throughBreaker(n int, live []*entry) int {
	failing, why := neverUp(live)
	limit := max(breakerFailures, d.in.Set.SKU.Capacity/10)
	b := &d.plan.State.Breaker
	if len(failing) < limit {
		*b = vmss.Breaker{}
		return n
	}
	if n == 0 {
		return 0
	}
	if b.OpenUntil.IsZero() {
		d.openBreaker(failing, why)
	}
	if d.in.Now.Before(b.OpenUntil) {
		d.block("scaleOut", fmt.Sprintf("Breaker open, %s not created before %s: %s", count(n), b.OpenUntil.UTC().Format(time.RFC3339), b.Reason), failing...)
		d.wake(b.OpenUntil)
		return 0
	}
	d.openBreaker(failing, why) // half open: one try, then a longer pause
	d.wake(b.OpenUntil)
	if n > 1 {
		d.block("scaleOut", "One is tried, the creation of "+count(n-1)+" waits: "+b.Reason, failing...)
	}
	return 1
}

func (d *draft) openBreaker(failing []vmss.InstanceID, why string) {
	b := &d.plan.State.Breaker
	pause := min(breakerPause<<min(b.Trips, 10), breakerMaxPause)
	*b = vmss.Breaker{Trips: b.Trips + 1, OpenUntil: d.in.Now.Add(pause),
		Reason: fmt.Sprintf("%s failed to come up, the last with %q.", count(len(failing)), why)}
}

// closeBreaker forgets an open breaker once the capacity is there and well.
func (d *draft) closeBreaker(live []*entry) {
	if failing, _ := neverUp(live); len(failing) == 0 {
		d.plan.State.Breaker = vmss.Breaker{}
	}
}

// neverUp lists the instances that count as failed and never were provisioned,
// with the newest failure's text.
func neverUp(live []*entry) (ids []vmss.InstanceID, why string) {
	var newest time.Time
	for _, e := range live {
		f := vmss.FailureOf(e.Row, e.Seen)
		if !f.Counts() || !e.Seen.Provisioned.IsZero() {
			continue
		}
		ids = append(ids, e.Row.ID)
		if why == "" || f.Since.After(newest) {
			newest, why = f.Since, f.Code+": "+f.Message
		}
	}
	return ids, why
}
