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
	store  *store.Store
	fence  store.Change // what every commit depends on: the host's lease
	log    *slog.Logger
	failed func(vmss.InstanceKey) // asks for the instance to be looked at again

	mu      sync.Mutex
	pending map[vmss.InstanceKey]vmss.Observation
	order   []vmss.InstanceKey
	wake    chan struct{}
}

// groupSize is how many observations go into one transaction.
const groupSize = 100

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
			j.flush(last)
			cancel()
			return
		case <-j.wake:
			j.flush(ctx)
		}
	}
}

// flush commits groups until nothing is pending or a commit fails.
func (j *journal) flush(ctx context.Context) {
	for {
		keys, changes, seen := j.take()
		if len(keys) == 0 {
			return
		}
		_, err := j.store.Commit(ctx, append(changes, j.fence)...)
		if err != nil {
			j.log.WarnContext(ctx, "write observations", "instances", len(keys), "err", err)
		}
		j.done(keys, seen, err)
		if err != nil {
			return
		}
	}
}

func (j *journal) take() ([]vmss.InstanceKey, []store.Change, []vmss.Observation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	keys := j.order[:min(len(j.order), groupSize)]
	j.order = j.order[len(keys):]
	changes := make([]store.Change, len(keys))
	seen := make([]vmss.Observation, len(keys))
	for i, k := range keys {
		seen[i] = j.pending[k]
		changes[i] = store.Put(store.Observations, k, seen[i])
	}
	return keys, changes, seen
}

// done forgets what is committed, unless there is a newer one by now. What was
// not committed is forgotten too: the instance is looked at again.
func (j *journal) done(keys []vmss.InstanceKey, seen []vmss.Observation, err error) {
	j.mu.Lock()
	var again []vmss.InstanceKey
	for i, k := range keys {
		if now, ok := j.pending[k]; ok && now != seen[i] && err == nil {
			j.order = append(j.order, k)
			continue
		}
		delete(j.pending, k)
		if err != nil {
			again = append(again, k)
		}
	}
	j.mu.Unlock()
	for _, k := range again {
		j.failed(k)
	}
}
