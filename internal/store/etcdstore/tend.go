package etcdstore

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// defaultQuota is etcd's, where it does not tell its own (before 3.6).
const defaultQuota = 2 << 30

// tend drops history that is older than a period and looks after the size,
// once a period, until ctx is done. Several stores may do so over one etcd.
func (s *Store) tend(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	mark := s.now(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := s.now(ctx)
		if mark > 0 {
			if err := s.Compact(ctx, mark); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "state store not compacted", "err", err)
			}
		}
		mark = now
		s.watchSize(ctx)
	}
}

// now returns the current revision, 0 if etcd does not answer.
func (s *Store) now(ctx context.Context) int64 {
	answer, err := s.get(ctx, s.prefix)
	if err != nil {
		return 0
	}
	return answer.Header.Revision
}

// Compact drops the history up to a revision, so that watches from before it
// end with store.ErrCompacted. Compacting what is gone already is no error; a
// revision that was not made yet is Invalid.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	question, cancel := s.brief(ctx)
	defer cancel()
	_, err := s.client.Compact(question, revision)
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil
	}
	return s.explain(ctx, err)
}

// watchSize warns of a store that is about to be full, while there is time.
func (s *Store) watchSize(ctx context.Context) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	endpoints := s.client.Endpoints()
	if s.embedded {
		endpoints = []string{""}
	}
	for _, endpoint := range endpoints {
		status, err := s.client.Status(ctx, endpoint)
		if err != nil {
			s.log.DebugContext(ctx, "size of the state store unknown", "endpoint", endpoint, "err", err)
			continue
		}
		quota := status.DbSizeQuota
		if quota <= 0 {
			quota = defaultQuota
		}
		if status.DbSize > quota/4*3 {
			s.log.WarnContext(ctx, "state store is getting full; raise its quota, or delete resources that are not needed "+
				"and defragment etcd (a restart does so if it is embedded)",
				"endpoint", endpoint, "size", status.DbSize, "in_use", status.DbSizeInUse, "quota", quota)
		}
	}
	if err := s.settleAlarms(ctx); err != nil {
		s.log.DebugContext(ctx, "alarms of the state store unknown", "err", err)
	}
}

// settleAlarms reports etcd's alarms. That of a full store stays when there is
// room again, and refuses every write; an embedded etcd has nobody else to
// disarm it.
func (s *Store) settleAlarms(ctx context.Context) error {
	list, err := s.client.AlarmList(ctx)
	if err != nil {
		return err
	}
	for _, alarm := range list.Alarms {
		s.log.WarnContext(ctx, "etcd has raised an alarm; a full store takes no writes until it has room and is disarmed",
			"alarm", alarm.Alarm.String())
		if alarm.Alarm != etcdserverpb.AlarmType_NOSPACE || !s.embedded || !s.hasRoom(ctx) {
			continue
		}
		if _, err := s.client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(alarm)); err != nil {
			return err
		}
	}
	return nil
}

// hasRoom reports that a tenth of the quota is free.
func (s *Store) hasRoom(ctx context.Context) bool {
	status, err := s.client.Status(ctx, "")
	return err == nil && status.DbSize < status.DbSizeQuota/10*9
}
