package etcdstore

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-vm/muster/internal/store"
)

// A page is to be about this large. Its records are few at first, until it is
// known how large they are, and at most maxPage: etcd holds up writes for long
// ranges, and counts what is behind a page each time.
const (
	pageBytes = 4 << 20
	firstPage = 500
	maxPage   = 5000
)

// Load implements store.Backend. Records come in the order of their keys.
func (s *Store) Load(ctx context.Context, yield func(store.Item) error) (int64, error) {
	var revision int64 // of the first page, and so of all
	from, limit := s.prefix, int64(firstPage)
	for {
		if err := s.check(ctx); err != nil {
			return 0, err
		}
		answer, err := s.page(ctx, from, limit, revision)
		if err != nil {
			return 0, s.explain(ctx, err)
		}
		if revision == 0 {
			revision = answer.Header.Revision
		}
		for _, kv := range answer.Kvs {
			if err := yield(s.item(kv.Key, kv.Value, kv.ModRevision)); err != nil {
				return 0, err
			}
		}
		if !answer.More {
			return revision, nil
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
		limit = nextLimit(answer.Kvs)
	}
}

// page gets up to limit records at a revision, 0 for the current one.
func (s *Store) page(ctx context.Context, from string, limit, revision int64) (*clientv3.GetResponse, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	end := clientv3.GetPrefixRangeEnd(s.prefix)
	return s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(revision))
}

// nextLimit is how many records like these make a page.
func nextLimit(kvs []*mvccpb.KeyValue) int64 {
	bytes := 1
	for _, kv := range kvs {
		bytes += len(kv.Key) + len(kv.Value)
	}
	return int64(min(max(pageBytes*len(kvs)/bytes, 1), maxPage))
}
