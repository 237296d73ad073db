package etcdstore

import (
	"context"
	"errors"
	"iter"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-vm/muster/internal/store"
)

// Watch implements store.Backend. It ends with Unavailable when the store is
// closed or etcd lost its leader, and without an error when ctx is done.
func (s *Store) Watch(ctx context.Context, after int64) iter.Seq2[store.Batch, error] {
	return func(yield func(store.Batch, error) bool) {
		err := s.watch(ctx, after, yield)
		if err != nil && ctx.Err() == nil {
			yield(store.Batch{}, err)
		}
	}
}

// watch returns why the watch ends, nil if yield wanted it.
func (s *Store) watch(ctx context.Context, after int64, yield func(store.Batch, error) bool) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	watching, cancel := s.bound(clientv3.WithRequireLeader(ctx))
	defer cancel()
	answers := s.client.Watch(watching, s.prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithFragment())
	for answer := range answers {
		if answer.CompactRevision > 0 || errors.Is(answer.Err(), rpctypes.ErrCompacted) {
			return store.ErrCompacted
		}
		if err := answer.Err(); err != nil {
			return s.explain(ctx, err)
		}
		for _, batch := range s.batches(answer.Events) {
			if watching.Err() != nil {
				break
			}
			if !yield(batch, nil) {
				return nil
			}
		}
	}
	return s.explain(ctx, errors.New("etcd ended the watch"))
}

// batches groups events by revision. That no revision is split over several
// answers is etcd's promise, and the client puts fragments together.
func (s *Store) batches(events []*clientv3.Event) []store.Batch {
	var batches []store.Batch
	for _, event := range events {
		revision := event.Kv.ModRevision
		if n := len(batches); n == 0 || batches[n-1].Revision != revision {
			batches = append(batches, store.Batch{Revision: revision})
		}
		item := s.item(event.Kv.Key, event.Kv.Value, revision)
		if event.Type == clientv3.EventTypeDelete {
			item.Value = nil
		}
		last := &batches[len(batches)-1]
		last.Items = append(last.Items, item)
	}
	return batches
}
