package tsdb_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/metrics/metricstest"
	"github.com/muster-vm/muster/internal/metrics/tsdb"
	"github.com/muster-vm/muster/internal/vmss"
)

func open(t *testing.T, dir string) *tsdb.Archive {
	t.Helper()
	a, err := tsdb.Open(t.Context(), tsdb.Options{Dir: dir, Retention: 90 * 24 * time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() }) // again, where the test did
	return a
}

func TestTheDatabaseConforms(t *testing.T) {
	metricstest.Run(t, func(t *testing.T) metricstest.Fixture {
		dir := filepath.Join(t.TempDir(), "metrics")
		a := open(t, dir)
		return metricstest.Fixture{Archive: a, Reopen: func() metrics.Archive {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dir)
		}}
	})
}

const set = vmss.UID("11111111-1111-1111-1111-111111111111")

func minute(at time.Time, value float64) []metrics.Summary {
	s := metrics.Summary{At: at}
	s.Points[metrics.PercentageCPU] = metrics.PointOf(at, value)
	return []metrics.Summary{s}
}

// copied is the archive's directory as a death of the process leaves it.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "metrics")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestWhatWasAppendedOutlivesADeath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metrics")
	a, at := open(t, dir), time.Now().UTC().Truncate(time.Minute)
	if err := a.Append(set, minute(at, 7)); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, copied(t, dir)).Points(set, metrics.PercentageCPU, at, at.Add(time.Minute))
	if err != nil || len(got) != 1 || got[0].Sum != 7 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestADamagedEndOfTheLogLosesItselfAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metrics")
	a, at := open(t, dir), time.Now().UTC().Truncate(time.Minute)
	for i := range 3 {
		if err := a.Append(set, minute(at.Add(time.Duration(i)*time.Minute), 1)); err != nil {
			t.Fatal(err)
		}
	}
	torn := copied(t, dir)
	log, err := filepath.Glob(filepath.Join(torn, "wal", "0*"))
	if err != nil || len(log) == 0 {
		t.Fatal(log, err)
	}
	info, err := os.Stat(log[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(log[0], info.Size()-3); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, torn).Points(set, metrics.PercentageCPU, at, at.Add(time.Hour))
	if err != nil || len(got) < 2 {
		t.Errorf("got %v, %v; want the minutes before the tear", got, err)
	}
}

func TestADamagedBlockIsPutAsideAloneAndTheRestIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metrics")
	at := time.Now().UTC().Truncate(time.Minute)
	first := open(t, dir)
	if err := first.Append(set, minute(at, 7)); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	spoilt(t, filepath.Join(dir, "01BX5ZZKBKACTAV9WEVGEMMVRZ"))
	got, err := open(t, dir).Points(set, metrics.PercentageCPU, at, at.Add(time.Minute))
	if err != nil || len(got) != 1 || got[0].Sum != 7 {
		t.Errorf("got %v, %v; want what the log had", got, err)
	}
	if aside, err := filepath.Glob(dir + ".damaged-*/01BX5ZZKBKACTAV9WEVGEMMVRZ"); err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
}

func TestADatabaseBeyondRepairIsPutAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metrics")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wal"), []byte("no directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Append(set, minute(time.Now().UTC().Truncate(time.Minute), 1)); err != nil {
		t.Error(err)
	}
	if aside, err := filepath.Glob(dir + ".damaged-*/metrics/wal"); err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
}

func TestWhatOnlyCannotBeUsedNowStaysWhereItIs(t *testing.T) {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EACCES, syscall.EMFILE} {
		if tsdb.Damaged(fmt.Errorf("open the head: %w", &os.PathError{Op: "open", Path: "wal", Err: e})) {
			t.Errorf("%v counts as damage", e)
		}
	}
	if !tsdb.Damaged(fmt.Errorf("block: %w", &os.PathError{Op: "open", Path: "index", Err: syscall.ENOENT})) {
		t.Error("a missing file does not count as damage")
	}
}

func TestAMinuteOfLongAgoIsRefusedAloneAndSaid(t *testing.T) {
	a := open(t, filepath.Join(t.TempDir(), "metrics"))
	now := time.Now().UTC().Truncate(time.Minute)
	if err := a.Append(set, minute(now, 1)); err != nil {
		t.Fatal(err)
	}
	err := a.Append(set, append(minute(now.Add(-48*time.Hour), 1), minute(now.Add(time.Minute), 2)...))
	if err == nil || !strings.Contains(err.Error(), string(set)) {
		t.Errorf("got %v", err)
	}
	got, err := a.Points(set, metrics.PercentageCPU, now.Add(-72*time.Hour), now.Add(time.Hour))
	if err != nil || len(got) != 2 {
		t.Errorf("got %v, %v; want the two that are new enough", got, err)
	}
}

func TestADamagedDatabaseIsPutAsideUnderARegistryToo(t *testing.T) {
	dir, registry := filepath.Join(t.TempDir(), "metrics"), prometheus.NewRegistry()
	spoilt(t, filepath.Join(dir, "01BX5ZZKBKACTAV9WEVGEMMVRZ"))
	a, err := tsdb.Open(t.Context(), tsdb.Options{Dir: dir, Retention: time.Hour, Registry: registry, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if all, err := registry.Gather(); err != nil || len(all) == 0 {
		t.Errorf("the database tells %d metrics of itself, %v", len(all), err)
	}
}

// spoilt makes a block that has a description and no data.
func spoilt(t *testing.T, block string) {
	t.Helper()
	if err := os.MkdirAll(block, 0o700); err != nil {
		t.Fatal(err)
	}
	meta := `{"version":1,"ulid":"` + filepath.Base(block) + `","minTime":0,"maxTime":1}`
	if err := os.WriteFile(filepath.Join(block, "meta.json"), []byte(meta), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBlocksGrowWithTheRetention(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metrics")
	a := open(t, dir)
	begin := time.Now().UTC().Truncate(24 * time.Hour).Add(-5 * 24 * time.Hour)
	var all []metrics.Summary
	for at := begin; at.Before(begin.Add(4 * 24 * time.Hour)); at = at.Add(10 * time.Minute) {
		all = append(all, minute(at, 1)...)
	}
	if err := a.Append(set, all); err != nil {
		t.Fatal(err)
	}
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "*", "meta.json"))
	if err != nil || len(blocks) > 20 {
		t.Errorf("four days are %d blocks, %v; 48 are those of two hours", len(blocks), err)
	}
	got, err := a.Points(set, metrics.PercentageCPU, begin, begin.Add(5*24*time.Hour))
	if err != nil || len(got) != len(all) {
		t.Errorf("%d of %d points are left, %v", len(got), len(all), err)
	}
	t.Logf("%d blocks", len(blocks))
}
