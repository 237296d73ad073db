package etcdstore

import (
	"context"

	"go.uber.org/zap"
)

// Share returns a store over the same etcd, which leaves the etcd running when
// it is closed.
func (s *Store) Share(ctx context.Context, o Options) *Store {
	other := &Store{client: s.client, shutdown: func() {}}
	other.start(ctx, o.withDefaults())
	return other
}

// RevokeAll ends all leases in the store's etcd, as if nobody kept them alive.
func (s *Store) RevokeAll(ctx context.Context) error {
	all, err := s.client.Leases(ctx)
	if err != nil {
		return err
	}
	for _, lease := range all.Leases {
		if _, err := s.client.Revoke(ctx, lease.ID); err != nil {
			return err
		}
	}
	return nil
}

// BreakDown has the embedded etcd fail as it does when it cannot write.
func (s *Store) BreakDown(err error) {
	go s.client.GetLogger().Fatal("failed to save Raft hard state and entries", zap.Error(err))
}
