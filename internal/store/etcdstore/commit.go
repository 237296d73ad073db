package etcdstore

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// Commit implements store.Backend as one transaction.
func (s *Store) Commit(ctx context.Context, ops []store.Op) (int64, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	if err := store.CheckOps(ops); err != nil {
		return 0, err
	}
	question, cancel := s.brief(ctx)
	defer cancel()
	answer, err := s.transaction(question, ops).Commit()
	if err != nil {
		return 0, s.explain(ctx, err)
	}
	if !answer.Succeeded {
		return 0, conflict(ops, answer)
	}
	return answer.Header.Revision, nil
}

// transaction checks the guards and, if one does not hold, looks at what they
// are about, in the order of the ops.
func (s *Store) transaction(ctx context.Context, ops []store.Op) clientv3.Txn {
	var guards []clientv3.Cmp
	var changes, looks []clientv3.Op
	for i := range ops {
		key := s.prefix + ops[i].Key
		switch ops[i].Do {
		case store.Write:
			changes = append(changes, clientv3.OpPut(key, string(ops[i].Value)))
		case store.Drop:
			changes = append(changes, clientv3.OpDelete(key))
		case store.Look: // its guard is all there is to it
		}
		if ops[i].Guard != store.Any {
			guards = append(guards, clientv3.Compare(clientv3.ModRevision(key), "=", int64(ops[i].Guard)))
			looks = append(looks, clientv3.OpGet(key, clientv3.WithKeysOnly()))
		}
	}
	return s.client.Txn(ctx).If(guards...).Then(changes...).Else(looks...)
}

// conflict names the first record whose guard does not hold.
func conflict(ops []store.Op, answer *clientv3.TxnResponse) error {
	looks := answer.Responses
	for i := range ops {
		if ops[i].Guard == store.Any || len(looks) == 0 {
			continue
		}
		revision := int64(store.Absent)
		if kvs := looks[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			revision = kvs[0].ModRevision
		}
		looks = looks[1:]
		if revision != int64(ops[i].Guard) {
			return resource.Errorf(resource.Conflict, "StoreConflict", "The record %s was changed meanwhile.", ops[i].Key)
		}
	}
	return resource.Errorf(resource.Conflict, "StoreConflict", "A record was changed meanwhile.")
}

// item converts a record of etcd's. A value that is empty is not nil: nil says
// that the record was deleted.
func (s *Store) item(key, value []byte, revision int64) store.Item {
	if value == nil {
		value = []byte{}
	}
	return store.Item{Key: strings.TrimPrefix(string(key), s.prefix), Value: value, Revision: revision}
}
