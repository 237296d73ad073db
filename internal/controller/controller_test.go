package controller_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/controller"
	"github.com/muster-vm/muster/internal/resource"
)

// start runs a controller of f until the test ends.
func start(t *testing.T, o controller.Options[string], f controller.Func[string]) *controller.Controller[string] {
	t.Helper()
	o.Name, o.Reconciler, o.Log = "test", f, slog.New(slog.DiscardHandler)
	c := controller.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

func TestOneWorkerPerKeyAndPokesCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, calls atomic.Int32
		c := start(t, controller.Options[string]{Workers: 4}, func(context.Context, string) (time.Time, error) {
			if busy.Add(1) > 1 {
				t.Error("two workers on one key")
			}
			calls.Add(1)
			time.Sleep(10 * time.Second)
			busy.Add(-1)
			return time.Time{}, nil
		})
		c.Poke("a")
		synctest.Wait()
		for range 100 {
			c.Poke("a")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := calls.Load(); got != 2 {
			t.Errorf("calls = %d, want 2", got)
		}
	})
}

func TestFailuresBackOffSuccessResetsAndWakeAtIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		c := start(t, controller.Options[string]{}, func(context.Context, string) (time.Time, error) {
			at = append(at, time.Since(begin))
			switch len(at) {
			case 1, 2, 3, 6:
				return time.Time{}, errors.New("boom")
			case 4:
				return begin.Add(30 * time.Minute), nil
			}
			return time.Time{}, nil
		})
		c.Poke("a")
		time.Sleep(59 * time.Minute)
		c.Poke("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 30 * time.Minute, 59 * time.Minute, 59*time.Minute + time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("ran at %v, want %v", at, want)
		}
	})
}

func TestConflictIsTriedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := start(t, controller.Options[string]{}, func(context.Context, string) (time.Time, error) {
			if calls++; calls < 3 {
				return time.Time{}, resource.Errorf(resource.Conflict, "", "changed meanwhile")
			}
			return time.Time{}, nil
		})
		c.Poke("a")
		synctest.Wait()
		if calls != 3 {
			t.Errorf("calls = %d, want 3 without time passing", calls)
		}
	})
}

func TestResyncReachesKeysThatNobodyPoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		start(t, controller.Options[string]{Resync: time.Minute, List: func(context.Context) ([]string, error) { return []string{"a"}, nil }},
			func(context.Context, string) (time.Time, error) { calls++; return time.Time{}, nil })
		time.Sleep(150 * time.Second)
		synctest.Wait()
		if calls != 3 {
			t.Errorf("calls = %d, want 3: at start, after one and two minutes", calls)
		}
	})
}

func TestAPanicIsOneKeysFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := 0
		c := start(t, controller.Options[string]{}, func(_ context.Context, key string) (time.Time, error) {
			if key == "bad" {
				panic("broken")
			}
			good++
			return time.Time{}, nil
		})
		c.Poke("bad")
		synctest.Wait()
		c.Poke("good")
		synctest.Wait()
		if good != 1 {
			t.Errorf("good = %d, want 1", good)
		}
	})
}
