package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// journal writes observations in groups. Until one is committed it answers for
// the store, so that the next reconcile sees what the last one saw.
type journal struct {
	store *store.Store
	fence store.Change // what every commit depends on: the host's lease
	log   *slog.Logger

	mu      sync.Mutex
	pending map[vmss.InstanceKey]vmss.Observation
	order   []vmss.InstanceKey // of what is pending
	wake    chan struct{}
}

// groupSize is how many observations go into one transaction.
const groupSize = 100

// retryAfter is how long the journal waits for a store that did not take what
// it wrote.
const retryAfter = time.Second

// put notes an observation; it is on its way to the store when put returns.
func (j *journal) put(key vmss.InstanceKey, seen vmss.Observation) {
	j.mu.Lock()
	if _, ok := j.pending[key]; !ok {
		j.order = append(j.order, key)
	}
	j.pending[key] = seen
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// get returns the newest observation that is not in the store yet.
func (j *journal) get(key vmss.InstanceKey) (vmss.Observation, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen, ok := j.pending[key]
	return seen, ok
}

// run commits until ctx is done, and then what is left.
func (j *journal) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			_ = j.flush(last) // was logged; the next start observes again
			cancel()
			return
		case <-j.wake:
		}
		for j.flush(ctx) != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
		}
	}
}

// flush commits groups until nothing is pending or a commit fails.
func (j *journal) flush(ctx context.Context) error {
	for {
		changes, seen := j.group()
		if len(seen) == 0 {
			return nil
		}
		if _, err := j.store.Commit(ctx, append(changes, j.fence)...); err != nil {
			j.log.WarnContext(ctx, "write observations", "instances", len(seen), "err", err)
			return err
		}
		j.done(seen)
	}
}

// group returns the oldest that is pending, as changes and as it is.
func (j *journal) group() ([]store.Change, []vmss.Observation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(len(j.order), groupSize)
	changes, seen := make([]store.Change, n), make([]vmss.Observation, n)
	for i, k := range j.order[:n] {
		seen[i] = j.pending[k]
		changes[i] = store.Put(store.Observations, k, seen[i])
	}
	return changes, seen
}

// done forgets the oldest, which are committed as seen; those of which there is
// news by now go to the end of the queue.
func (j *journal) done(seen []vmss.Observation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	keys := j.order[:len(seen)]
	j.order = j.order[len(seen):]
	for i, k := range keys {
		if j.pending[k] == seen[i] {
			delete(j.pending, k)
			continue
		}
		j.order = append(j.order, k)
	}
}
