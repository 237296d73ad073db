package etcdstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-vm/muster/internal/store"
)

// Acquire implements store.Backend. A lease is lost when etcd did not confirm
// it for its whole time to live; what its holder still commits then is refused
// by the guard on the lease's revision.
func (s *Store) Acquire(ctx context.Context, name string) (store.Lease, error) {
	acquiring, cancel := s.bound(ctx)
	defer cancel()
	for {
		if err := s.check(ctx); err != nil {
			return store.Lease{}, err
		}
		if err := s.waitFree(acquiring, name); err != nil {
			return store.Lease{}, s.explain(ctx, err)
		}
		lease, ok, err := s.take(acquiring, name)
		if err != nil {
			return store.Lease{}, s.explain(ctx, err)
		}
		if ok {
			return lease, nil
		}
	}
}

// waitFree returns when the lease's record is not there. Another may take it
// meanwhile: then the caller comes back.
func (s *Store) waitFree(ctx context.Context, name string) error {
	key := s.prefix + store.LeaseKey(name)
	now, err := s.get(ctx, key)
	if err != nil || len(now.Kvs) == 0 {
		return err
	}
	watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for answer := range s.client.Watch(watching, key, clientv3.WithRev(now.Header.Revision+1)) {
		for _, event := range answer.Events {
			if event.Type == clientv3.EventTypeDelete {
				return nil
			}
		}
		if answer.CompactRevision > 0 {
			return nil // look again
		}
		if err := answer.Err(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("etcd ended the watch of the lease %s", name)
}

func (s *Store) get(ctx context.Context, key string) (*clientv3.GetResponse, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	return s.client.Get(ctx, key)
}

// take writes the lease's record if there is none, tied to a lease of etcd's
// that the store keeps alive.
func (s *Store) take(ctx context.Context, name string) (lease store.Lease, ok bool, err error) {
	question, cancel := s.brief(ctx)
	defer cancel()
	seconds := int64((s.leaseTTL + time.Second - 1) / time.Second)
	grant, err := s.client.Grant(question, seconds)
	if err != nil {
		return store.Lease{}, false, err
	}
	key := s.prefix + store.LeaseKey(name)
	answer, err := s.client.Txn(question).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, fmt.Sprintf("%x", grant.ID), clientv3.WithLease(grant.ID))).
		Commit()
	if err != nil || !answer.Succeeded {
		s.revoke(ctx, grant.ID)
		return store.Lease{}, false, err
	}
	lease = s.keep(ctx, grant.ID)
	lease.Name, lease.Revision = name, answer.Header.Revision
	return lease, true, nil
}

// keep starts to keep a lease alive until it is released, lost, or the store is
// closed.
func (s *Store) keep(ctx context.Context, id clientv3.LeaseID) store.Lease {
	lost := make(chan struct{})
	gone := make(chan struct{})
	keeping, release := s.bound(context.WithoutCancel(ctx))
	s.tasks.Go(func() {
		defer close(gone)
		defer release()
		s.keepAlive(keeping, id)
		close(lost) // the holder is to know before anybody else can have the lease
		s.revoke(keeping, id)
	})
	return store.Lease{Lost: lost, Release: sync.OnceFunc(func() { release(); <-gone })}
}

// keepAlive returns when the lease is not confirmed any more, or ctx is done.
func (s *Store) keepAlive(ctx context.Context, id clientv3.LeaseID) {
	confirmed, err := s.client.KeepAlive(ctx, id)
	if err != nil {
		return
	}
	for range confirmed {
		continue // the client asks again in time and closes the channel when it ran out
	}
}

// revoke gives a lease of etcd's back, with its record, even when ctx is done.
// If it cannot, the lease's time runs out.
func (s *Store) revoke(ctx context.Context, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.leaseTTL, patience))
	defer cancel()
	if _, err := s.client.Revoke(ctx, id); err != nil {
		s.log.DebugContext(ctx, "lease not revoked", "err", err)
	}
}
