package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Store is the typed view of a backend. Reads are answered from its cache, which
// follows the backend while Run runs. It is safe for concurrent use.
type Store struct {
	backend Backend
	log     *slog.Logger
	cache   *cache

	mu        sync.Mutex
	revision  int64                     // that the cache shows; the highest there is once nobody follows any more
	waiting   []waiter                  // for a revision
	listeners map[string][]func(string) // by the first segment of keys; told the rest
}

type waiter struct {
	revision int64
	done     chan struct{}
}

// Open reads every record. It fails with Unavailable if the backend does not
// answer, and with Internal if a record cannot be read.
func Open(ctx context.Context, backend Backend, log *slog.Logger) (*Store, error) {
	s := &Store{backend: backend, log: log, cache: newCache(), listeners: map[string][]func(string){}}
	return s, s.load(ctx)
}

// Run keeps the cache current until ctx is done. Commits wait for it, and for
// nothing once it has ended.
func (s *Store) Run(ctx context.Context) {
	defer s.advance(math.MaxInt64)
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		s.log.WarnContext(ctx, "the watch of the state store ended; loading again", "err", err)
		for err = s.load(ctx); err != nil && ctx.Err() == nil; err = s.load(ctx) {
			s.log.ErrorContext(ctx, "load the state store", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (s *Store) follow(ctx context.Context) error {
	for batch, err := range s.backend.Watch(ctx, s.current()) {
		if err != nil {
			return err
		}
		if err := s.apply(batch.Items, batch.Revision); err != nil {
			return err
		}
	}
	return errors.New("it ended without a reason")
}

func (s *Store) current() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// loadGroup is how many records are applied at once while loading.
const loadGroup = 1000

// load brings the cache to the backend's present, whatever it showed before.
func (s *Store) load(ctx context.Context) error {
	present := map[string]bool{}
	first := s.current() == 0
	var group []Item
	revision, err := s.backend.Load(ctx, func(i Item) error {
		if !first {
			present[i.Key] = true
		}
		if group = append(group, i); len(group) < loadGroup {
			return nil
		}
		err := s.apply(group, 0)
		group = group[:0]
		return err
	})
	if err != nil {
		return err
	}
	if !first {
		for _, key := range s.stale(present) {
			group = append(group, Item{Key: key})
		}
	}
	return s.apply(group, revision)
}

// stale lists the keys of what the cache has and the backend has not.
func (s *Store) stale(present map[string]bool) (keys []string) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(readers)) {
		keys = append(keys, readers[name].stale(s.cache, present)...)
	}
	return keys
}

// leases are records that no cache needs.
const leases = "leases"

// apply shows items in the cache, tells the listeners and lets go on who waited
// for the revision; 0 is none.
func (s *Store) apply(items []Item, revision int64) error {
	changes := make([]func(*cache), 0, len(items))
	for _, i := range items {
		root, rest, _ := strings.Cut(i.Key, "/")
		if root == leases {
			continue
		}
		reader, ok := readers[root]
		if !ok {
			return fmt.Errorf("record %q is of no kind that this muster knows: a newer one wrote it", i.Key)
		}
		change, err := reader.decode(rest, i)
		if err != nil {
			return err
		}
		changes = append(changes, change)
	}
	s.cache.mu.Lock()
	for _, change := range changes {
		change(s.cache)
	}
	s.cache.mu.Unlock()
	s.advance(revision)
	s.tell(items)
	return nil
}

func (s *Store) advance(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = max(s.revision, revision)
	s.waiting = slices.DeleteFunc(s.waiting, func(w waiter) bool {
		if w.revision > s.revision {
			return false
		}
		close(w.done)
		return true
	})
}

func (s *Store) tell(items []Item) {
	for _, i := range items {
		root, rest, _ := strings.Cut(i.Key, "/")
		s.mu.Lock()
		listeners := s.listeners[root]
		s.mu.Unlock()
		for _, f := range listeners {
			f(rest)
		}
	}
}

// OnChange has f called with the key of every record of the kind that was
// written or deleted, after the cache shows it. f must not block.
func OnChange[K comparable, V any](s *Store, kind Kind[K, V], f func(K)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	root := strings.TrimSuffix(kind.root, "/")
	s.listeners[root] = append(s.listeners[root], func(rest string) {
		if key, ok := kind.read(rest); ok {
			f(key)
		}
	})
}

// Commit makes all changes or none, durably, and returns their revision once
// the cache shows them. It fails with Conflict if a guard does not hold.
func (s *Store) Commit(ctx context.Context, changes ...Change) (int64, error) {
	ops := make([]Op, 0, len(changes))
	for _, c := range changes {
		if c.err != nil {
			return 0, c.err
		}
		if c.op.Key != "" {
			ops = append(ops, c.op)
		}
	}
	revision, err := s.backend.Commit(ctx, ops)
	if err != nil {
		return 0, err
	}
	s.wait(ctx, revision)
	return revision, nil
}

// wait returns when the cache shows the revision. What was committed stays so
// if ctx is done first.
func (s *Store) wait(ctx context.Context, revision int64) {
	s.mu.Lock()
	if revision <= s.revision {
		s.mu.Unlock()
		return
	}
	w := waiter{revision, make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.done:
	case <-ctx.Done():
	}
}

// Acquire waits for the named lease and takes it.
func (s *Store) Acquire(ctx context.Context, name string) (Lease, error) {
	return s.backend.Acquire(ctx, name)
}

// Get returns the record under the key.
func Get[K comparable, V any](s *Store, kind Kind[K, V], key K) (Entry[V], bool) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	return kind.table(s.cache).get(key)
}

// All returns every record of the kind, in the order of their keys.
func All[K comparable, V any](s *Store, kind Kind[K, V]) []Entry[V] {
	type named struct {
		key string
		e   Entry[V]
	}
	s.cache.mu.RLock()
	var all []named
	for k, e := range kind.table(s.cache).all() {
		all = append(all, named{kind.write(k), e})
	}
	s.cache.mu.RUnlock()
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.key, b.key) })
	out := make([]Entry[V], len(all))
	for i := range all {
		out[i] = all[i].e
	}
	return out
}

// SetByUID returns the scale set with this UID.
func (s *Store) SetByUID(uid vmss.UID) (Entry[vmss.ScaleSet], bool) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	return s.cache.setOf(uid)
}

func (c *cache) setOf(uid vmss.UID) (Entry[vmss.ScaleSet], bool) {
	f := c.fleets[uid]
	if f == nil {
		return Entry[vmss.ScaleSet]{}, false
	}
	return c.sets.get(f.set)
}

// OperationByID returns the operation with this GUID and its outcome, nil while
// it is in progress. It fails with NotFound.
func (s *Store) OperationByID(guid string) (vmss.Operation, *vmss.Outcome, error) {
	s.cache.mu.RLock()
	defer s.cache.mu.RUnlock()
	key, ok := s.cache.byGUID[strings.ToLower(guid)]
	if !ok {
		return vmss.Operation{}, nil, resource.Errorf(resource.NotFound, "NotFound", "There is no operation %q; operations are kept for a day after they end.", guid)
	}
	op, _ := operationTable{s.cache}.get(key)
	outcome, _ := outcomeTable{s.cache}.get(key)
	return *op.Value, outcome.Value, nil
}
