package etcdstore

import "context"

// Status is how an etcd is.
type Status struct {
	Size   int64    `json:"size"`  // bytes of its file
	InUse  int64    `json:"inUse"` // of those
	Quota  int64    `json:"quota"` // at which it takes no more
	Alarms []string `json:"alarms,omitempty"`
}

// Status asks etcd, the first endpoint if there are several, how it is.
func (s *Store) Status(ctx context.Context) (Status, error) {
	if err := s.check(ctx); err != nil {
		return Status{}, err
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	endpoint := ""
	if all := s.client.Endpoints(); !s.embedded && len(all) > 0 {
		endpoint = all[0]
	}
	answer, err := s.client.Status(ctx, endpoint)
	if err != nil {
		return Status{}, s.explain(ctx, err)
	}
	out := Status{Size: answer.DbSize, InUse: answer.DbSizeInUse, Quota: answer.DbSizeQuota}
	if out.Quota <= 0 {
		out.Quota = defaultQuota
	}
	alarms, err := s.client.AlarmList(ctx)
	if err != nil {
		return out, s.explain(ctx, err)
	}
	for _, a := range alarms.Alarms {
		out.Alarms = append(out.Alarms, a.Alarm.String())
	}
	return out, nil
}
