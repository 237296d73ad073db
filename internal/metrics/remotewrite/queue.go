package remotewrite

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/prompb"
)

const (
	most  = 200_000 // series that wait, each of one sample or a few: about 40 MB
	batch = 2_000   // that are sent at once
)

// queue holds what one receiver shall get.
type queue struct {
	api      *remote.API
	receiver string
	log      *slog.Logger
	wake     chan struct{}
	closed   chan struct{} // nothing more comes

	mu      sync.Mutex
	waiting []prompb.TimeSeries
	dropped int // since it was said last
}

// add lets series wait to be sent, and lets the oldest go if they are too many.
func (q *queue) add(all []prompb.TimeSeries) {
	q.mu.Lock()
	q.waiting = append(q.waiting, all...)
	if n := len(q.waiting) - most; n > 0 {
		q.waiting = append(q.waiting[:0], q.waiting[n:]...)
		q.dropped += n
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest series that wait.
func (q *queue) next() (all []prompb.TimeSeries, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), batch)
	all = append(all, q.waiting[:n]...)
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	dropped, q.dropped = q.dropped, 0
	return all, dropped
}

// run sends what waits until nothing more comes, or ctx is done.
func (q *queue) run(ctx context.Context) {
	for {
		all, dropped := q.next()
		if dropped > 0 {
			q.log.WarnContext(ctx, "a receiver of metrics was down too long; the oldest were dropped", "receiver", q.receiver, "series", dropped)
		}
		if len(all) > 0 {
			if !q.send(ctx, all) {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		case <-q.closed:
			if all, _ := q.next(); len(all) > 0 {
				q.send(ctx, all)
			}
			return
		}
	}
}

// send sends series until the receiver has them, or refuses them. It returns false
// if ctx ended that.
func (q *queue) send(ctx context.Context, all []prompb.TimeSeries) bool {
	for {
		_, err := q.api.Write(ctx, remote.WriteV1MessageType, &prompb.WriteRequest{Timeseries: all})
		switch {
		case err == nil:
			return true
		case ctx.Err() != nil:
			return false
		}
		q.log.WarnContext(ctx, "metrics cannot be sent", "receiver", q.receiver, "series", len(all), "err", err)
		if refused(err) {
			return true
		}
	}
}

// refused tells whether a receiver does not want what it was sent: sending it again
// would not help.
func refused(err error) bool {
	var again interface {
		error
		RetryAfter() time.Duration
	}
	return !errors.As(err, &again)
}
