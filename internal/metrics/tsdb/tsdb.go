// Package tsdb archives the series of scale sets in the time-series database of
// Prometheus, embedded in the process: compressed, on disk, for as long as its
// retention says. It knows nothing of instances and samples but what
// metrics.Archive asks of it.
//
// A point of a metric is one sample in each of four series:
//
//	muster_scale_set{set="<uid>", metric="Percentage CPU", of="sum"|"min"|"max"|"count"}
package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/vmss"
)

// Options say where an archive is.
type Options struct {
	Dir       string // made if missing; of this process alone
	Retention time.Duration
	Registry  prometheus.Registerer // hears of the database's own state; nil for nobody
	Log       *slog.Logger
}

// Archive is an open database. Make it with Open.
type Archive struct {
	opts Options
	db   *tsdb.DB

	mu    sync.Mutex
	swept map[vmss.UID]bool // sets whose series were deleted already
}

var _ metrics.Archive = (*Archive)(nil)

// late is how much older than the newest minute a minute may be that comes in:
// a set that stood still is archived later than the others.
const late = time.Hour

// Open opens the database of a directory. What is damaged beyond what the database
// repairs by itself is put aside, beside it: single blocks, or everything if that
// is not enough. It fails, and leaves everything as it is, if the files may be sound
// but cannot be used now: no space, no permission.
func Open(ctx context.Context, opts Options) (*Archive, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	a := &Archive{opts: opts, swept: map[vmss.UID]bool{}}
	err := a.open()
	for _, clear := range []func(string) error{a.blocksAside, a.allAside} {
		if err == nil || !damaged(err) {
			break
		}
		if err = a.putAside(ctx, clear, err); err == nil {
			err = a.open()
		}
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// unusable are the errors that are about the machine and not about the files.
var unusable = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO}

func damaged(err error) bool {
	return !slices.ContainsFunc(unusable, func(target error) bool { return errors.Is(err, target) })
}

// putAside moves damaged files to a folder of their own.
func (a *Archive) putAside(ctx context.Context, clear func(aside string) error, why error) error {
	dir := a.opts.Dir
	aside, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".damaged-"+time.Now().UTC().Format("20060102T150405-*"))
	if err != nil {
		return err
	}
	a.opts.Log.WarnContext(ctx, "the archive of metrics is damaged; what cannot be read is put aside", "dir", dir, "aside", aside, "err", why)
	if err := clear(aside); err != nil {
		return err
	}
	if left, err := os.ReadDir(aside); err == nil && len(left) == 0 {
		return os.Remove(aside) // it was nothing that this way finds
	}
	return nil
}

// blocksAside moves the blocks that cannot be opened.
func (a *Archive) blocksAside(aside string) error {
	entries, err := os.ReadDir(a.opts.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(a.opts.Dir, e.Name())
		if _, err := os.Stat(filepath.Join(path, "meta.json")); err != nil {
			continue // no block
		}
		block, err := tsdb.OpenBlock(a.quiet(), path, nil, nil)
		if err == nil {
			err = block.Close()
		} else if damaged(err) {
			err = os.Rename(path, filepath.Join(aside, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allAside moves everything, and leaves an empty directory.
func (a *Archive) allAside(aside string) error {
	return errors.Join(os.Rename(a.opts.Dir, filepath.Join(aside, filepath.Base(a.opts.Dir))), os.Mkdir(a.opts.Dir, 0o700))
}

// What the database compacts its blocks to. Short ones cost a file and memory each,
// long ones stay for as long after the retention.
const (
	shortest = 2 * time.Hour
	longest  = 31 * 24 * time.Hour
)

// open opens the database, whose own state is told to the registry if that works.
func (a *Archive) open() (err error) {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = a.opts.Retention.Milliseconds()
	o.MaxBlockDuration = max(shortest, min(a.opts.Retention/10, longest)).Milliseconds() // as Prometheus does
	o.OutOfOrderTimeWindow = late.Milliseconds()
	o.NoLockfile = true                // the state directory has a lock
	o.WALSegmentSize = 8 * 1024 * 1024 // a few hundred series a minute need no more
	own := prometheus.NewRegistry()    // a second try would be a second registration
	if a.db, err = tsdb.Open(a.opts.Dir, a.quiet(), own, o, nil); err != nil || a.opts.Registry == nil {
		return err
	}
	return a.opts.Registry.Register(own)
}

func (a *Archive) quiet() *slog.Logger { return slog.New(levelled{a.opts.Log.Handler()}) }

// Retention implements metrics.Archive.
func (a *Archive) Retention() time.Duration { return a.opts.Retention }

const name = "muster_scale_set"

// of are the series of a point.
var of = [...]string{"sum", "min", "max", "count"}

func values(p metrics.Point) [len(of)]float64 { return [...]float64{p.Sum, p.Min, p.Max, p.Count} }

// Append implements metrics.Archive. Minutes that are older than the database
// takes are left out, and said in the error.
func (a *Archive) Append(set vmss.UID, minutes []metrics.Summary) error {
	app := a.db.Appender(context.Background()) //nolint:forbidigo // it is a writer; it takes no part in any request
	var dropped error
	series := labels.NewBuilder(labels.FromStrings(model.MetricNameLabel, name, "set", string(set)))
	for _, m := range metrics.All() {
		for i, part := range of {
			ref, id := storage.SeriesRef(0), series.Set("metric", m.String()).Set("of", part).Labels()
			for _, s := range minutes {
				p := s.Points[m]
				if p.Count == 0 {
					continue
				}
				var err error
				ref, err = app.Append(ref, id, s.At.UnixMilli(), values(p)[i])
				switch {
				case errors.Is(err, storage.ErrDuplicateSampleForTimestamp): // what is there stays
				case errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrTooOldSample):
					dropped = fmt.Errorf("minute %s of scale set %s: %w", s.At.Format(time.RFC3339), set, err)
				case err != nil:
					return errors.Join(err, app.Rollback())
				}
			}
		}
	}
	return errors.Join(app.Commit(), dropped)
}

// Points implements metrics.Archive.
func (a *Archive) Points(set vmss.UID, m metrics.Metric, from, to time.Time) (all []metrics.Point, err error) {
	if !from.Before(to) {
		return nil, nil
	}
	q, err := a.db.Querier(from.UnixMilli(), to.UnixMilli()-1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	found := q.Select(context.Background(), true, nil, //nolint:forbidigo // bounded by the series of one metric
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name),
		labels.MustNewMatcher(labels.MatchEqual, "set", string(set)),
		labels.MustNewMatcher(labels.MatchEqual, "metric", m.String()))
	at := map[int64]int{} // place of a minute in all
	for found.Next() {
		part, it := found.At().Labels().Get("of"), found.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			i, known := at[t]
			if !known {
				i, at[t] = len(all), len(all)
				all = append(all, metrics.Point{At: time.UnixMilli(t).UTC()})
			}
			*member(&all[i], part) = v
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(x, y metrics.Point) int { return x.At.Compare(y.At) })
	return slices.DeleteFunc(all, func(p metrics.Point) bool { return p.Count == 0 }), found.Err()
}

// member returns the number of a point that one of its series has.
func member(p *metrics.Point, part string) *float64 {
	switch part {
	case "sum":
		return &p.Sum
	case "min":
		return &p.Min
	case "max":
		return &p.Max
	}
	return &p.Count
}

// Sweep implements metrics.Archive: what is older than the retention the database
// lets go of by itself, two hours at a time.
func (a *Archive) Sweep(_ time.Time, exists func(vmss.UID) bool) error {
	sets, err := a.sets()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, set := range sets {
		if a.swept[set] || exists(set) {
			continue
		}
		err := a.db.Delete(context.Background(), math.MinInt64, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "set", string(set))) //nolint:forbidigo // as Append
		if err == nil {
			a.swept[set] = true
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sets lists the sets that there are series of.
func (a *Archive) sets() (all []vmss.UID, err error) {
	q, err := a.db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	names, _, err := q.LabelValues(context.Background(), "set", nil) //nolint:forbidigo // as Points
	for _, n := range names {
		all = append(all, vmss.UID(n))
	}
	return all, err
}

// Close implements metrics.Archive.
func (a *Archive) Close() error { return a.db.Close() }

// levelled passes on what the database warns of; what it does every two hours is
// for those who debug.
type levelled struct{ slog.Handler }

// Enabled implements slog.Handler.
func (l levelled) Enabled(ctx context.Context, level slog.Level) bool {
	if level == slog.LevelInfo {
		level = slog.LevelDebug
	}
	return l.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (l levelled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelled{l.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (l levelled) WithGroup(name string) slog.Handler { return levelled{l.Handler.WithGroup(name)} }
