package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// loadIsOneRevision has a writer keep two records equal that are far apart in
// any order of loading.
func loadIsOneRevision(t *testing.T, b store.Backend) {
	const filler = 3000
	for i := 0; i < filler; i += 100 {
		ops := make([]store.Op, 100)
		for j := range ops {
			ops[j] = put(fmt.Sprintf("m/%05d", i+j), "filler", store.Absent)
		}
		commit(t, b, ops...)
	}
	commit(t, b, put("a", "0", store.Absent), put("z", "0", store.Absent))

	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			v := fmt.Sprint(i)
			// Not ctx: a commit that is canceled half way may be made or not.
			if _, err := b.Commit(t.Context(), []store.Op{put("a", v, store.Any), put("z", v, store.Any)}); err != nil {
				t.Errorf("Commit: %v", err)
				return
			}
		}
	})
	defer writer.Wait()
	defer stop()
	for range 5 {
		items, revision := load(t, b)
		if len(items) != filler+2 || string(items["a"].Value) != string(items["z"].Value) {
			t.Fatalf("loaded %d records with a = %s and z = %s", len(items), items["a"].Value, items["z"].Value)
		}
		if items["a"].Revision > revision {
			t.Fatalf("loaded a record of revision %d at revision %d", items["a"].Revision, revision)
		}
	}
}

func loadEndsWithItsYield(t *testing.T, b store.Backend) {
	commit(t, b, put("a", "1", store.Absent), put("b", "1", store.Absent))
	want := errors.New("enough")
	calls := 0
	_, err := b.Load(t.Context(), func(store.Item) error { calls++; return want })
	if !errors.Is(err, want) || calls != 1 {
		t.Errorf("Load = %v after %d calls, want %v after one", err, calls, want)
	}
}

func watchYieldsEachCommitOnce(t *testing.T, b store.Backend) {
	_, start := load(t, b)
	var want []store.Batch
	add := func(revision int64, items ...store.Item) {
		for i := range items {
			items[i].Revision = revision
		}
		want = append(want, store.Batch{Revision: revision, Items: items})
	}
	add(commit(t, b, put("b", "1", store.Absent), put("a", "1", store.Absent)),
		store.Item{Key: "a", Value: []byte("1")}, store.Item{Key: "b", Value: []byte("1")})
	add(commit(t, b, put("a", "2", store.Any)), store.Item{Key: "a", Value: []byte("2")})
	add(commit(t, b, put("a", "2", store.Any)), store.Item{Key: "a", Value: []byte("2")})
	add(commit(t, b, drop("a", store.Any), put("c", "3", store.Any)),
		store.Item{Key: "a"}, store.Item{Key: "c", Value: []byte("3")})
	last := commit(t, b, drop("b", store.Any))
	add(last, store.Item{Key: "b"})
	if diff := cmp.Diff(want, sorted(follow(t, b, start, last))); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
}

func watchStartsAfterARevision(t *testing.T, b store.Backend) {
	first := commit(t, b, put("a", "1", store.Any))
	second := commit(t, b, put("a", "2", store.Any))
	third := commit(t, b, put("a", "3", store.Any))
	for _, test := range []struct {
		after int64
		want  []int64
	}{
		{first - 1, []int64{first, second, third}},
		{first, []int64{second, third}},
		{second, []int64{third}},
	} {
		var got []int64
		for _, batch := range follow(t, b, test.after, third) {
			got = append(got, batch.Revision)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("revisions after %d (-want +got):\n%s", test.after, diff)
		}
	}
}

// watchFollowsConcurrentCommits has two watches, one that lives through all
// commits and one that starts in the middle of them.
func watchFollowsConcurrentCommits(t *testing.T, b store.Backend) {
	const writers, commits = 4, 40
	_, start := load(t, b)
	type result struct {
		revision int64
		tag      string
	}
	made := make(chan result, writers*commits)
	watched := make(chan []result, 2)
	var watchers, wg sync.WaitGroup
	watch := func() {
		var got []result
		for batch, err := range b.Watch(t.Context(), start) {
			if err != nil {
				t.Errorf("Watch: %v", err)
				break
			}
			if len(batch.Items) != 3 {
				t.Errorf("revision %d has %d items, want 3", batch.Revision, len(batch.Items))
			}
			got = append(got, result{batch.Revision, string(batch.Items[0].Value)})
			if len(got) == writers*commits {
				break
			}
		}
		watched <- got
	}
	watchers.Go(watch)
	for w := range writers {
		wg.Go(func() {
			for i := range commits {
				tag := fmt.Sprintf("%d-%d", w, i)
				revision, err := b.Commit(t.Context(), []store.Op{
					put("shared", tag, store.Any), put(fmt.Sprintf("w%d", w), tag, store.Any), put(tag, tag, store.Absent)})
				if err != nil {
					t.Errorf("Commit: %v", err)
				}
				made <- result{revision, tag}
				if w == 0 && i == commits/2 {
					watchers.Go(watch)
				}
			}
		})
	}
	wg.Wait()
	close(made)
	want := make(map[int64]string)
	for r := range made {
		want[r.revision] = r.tag
	}
	watchers.Wait()
	for range 2 {
		last := start
		got := make(map[int64]string)
		for _, r := range <-watched {
			if r.revision <= last {
				t.Errorf("revision %d comes after %d", r.revision, last)
			}
			last = r.revision
			got[r.revision] = r.tag
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("commits by revision (-want +got):\n%s", diff)
		}
	}
}

func watchEndsWithItsContext(t *testing.T, b store.Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	revision := commit(t, b, put("a", "1", store.Absent))
	batches := 0
	for batch, err := range b.Watch(ctx, revision-1) {
		if err != nil {
			t.Fatalf("Watch: %v, want no error for the caller's own doing", err)
		}
		if batch.Revision == revision {
			cancel()
		}
		batches++
	}
	if batches != 1 {
		t.Errorf("%d batches, want one", batches)
	}
	for batch, err := range b.Watch(ctx, revision-1) {
		t.Errorf("a watch of a done context yields %v, %v", batch, err)
	}
}

func watchOfCompactedPast(t *testing.T, b store.Backend) {
	compacter, ok := b.(Compacter)
	if !ok {
		t.Skip("the backend cannot be told to compact")
	}
	_, start := load(t, b)
	var last int64
	for i := range 10 {
		last = commit(t, b, put("a", fmt.Sprint(i), store.Any))
	}
	next := commit(t, b, drop("a", store.Any), put("b", "1", store.Any))
	if err := compacter.Compact(t.Context(), last); err != nil {
		t.Fatalf("Compact: %v", err)
	}
	var ended error
	for batch, err := range b.Watch(t.Context(), start) {
		if err == nil {
			t.Fatalf("Watch yields %v of a past that is gone", batch)
		}
		ended = err
	}
	if !errors.Is(ended, store.ErrCompacted) {
		t.Errorf("Watch ends with %v, want ErrCompacted", ended)
	}
	if batches := follow(t, b, last, next); len(batches) != 1 || len(batches[0].Items) != 2 {
		t.Errorf("after the compacted revision comes %v, want one batch of two items", batches)
	}
	wantRecords(t, b, map[string]string{"b": "1"})
	if err := compacter.Compact(t.Context(), last-1); err != nil {
		t.Errorf("Compact to what is gone already: %v", err)
	}
	if err := compacter.Compact(t.Context(), next+1_000_000); !resource.Is(err, resource.Invalid) {
		t.Errorf("Compact to a revision to come: %v, want Invalid", err)
	}
}

func canceledCalls(t *testing.T, b store.Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Commit(ctx, []store.Op{put("a", "1", store.Any)}); !resource.Is(err, resource.Canceled) {
		t.Errorf("Commit: %v, want Canceled", err)
	}
	if _, err := b.Load(ctx, func(store.Item) error { return nil }); !resource.Is(err, resource.Canceled) {
		t.Errorf("Load: %v, want Canceled", err)
	}
	if _, err := b.Acquire(ctx, "leader"); !resource.Is(err, resource.Canceled) {
		t.Errorf("Acquire: %v, want Canceled", err)
	}
	wantRecords(t, b, map[string]string{})
}

func nothingWorksAfterClose(t *testing.T, b store.Backend) {
	revision := commit(t, b, put("a", "1", store.Any))
	lease, err := b.Acquire(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for _, err := range b.Watch(t.Context(), revision+1) {
			ended <- err
		}
		close(ended)
	}()
	if err := b.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	<-lease.Lost
	if err := <-ended; !resource.Is(err, resource.Unavailable) {
		t.Errorf("Watch ends with %v, want Unavailable", err)
	}
	refused(t, b, resource.Unavailable, put("a", "1", store.Any))
	if _, err := b.Load(t.Context(), func(store.Item) error { return nil }); !resource.Is(err, resource.Unavailable) {
		t.Errorf("Load: %v, want Unavailable", err)
	}
	if _, err := b.Acquire(t.Context(), "leader"); !resource.Is(err, resource.Unavailable) {
		t.Errorf("Acquire: %v, want Unavailable", err)
	}
	lease.Release()
}
