package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

func guardsDecide(t *testing.T, b store.Backend) {
	first := commit(t, b, put("a", "1", store.Absent))
	refused(t, b, resource.Conflict, put("a", "2", store.Absent))
	second := commit(t, b, put("a", "2", store.At(first)))
	refused(t, b, resource.Conflict, put("a", "3", store.At(first)))
	refused(t, b, resource.Conflict, put("b", "1", store.At(second)))
	commit(t, b, put("a", "4", store.Any), put("b", "4", store.Any))
	wantRecords(t, b, map[string]string{"a": "4", "b": "4"})

	items, _ := load(t, b)
	refused(t, b, resource.Conflict, drop("b", store.At(second)))
	refused(t, b, resource.Conflict, drop("b", store.Absent))
	commit(t, b, drop("b", store.At(items["b"].Revision)), drop("a", store.Any))
	wantRecords(t, b, map[string]string{})
	commit(t, b, put("a", "again", store.Absent))
	refused(t, b, resource.Conflict, put("a", "5", store.At(items["a"].Revision)))
}

func conflictLeavesNothing(t *testing.T, b store.Backend) {
	revision := commit(t, b, put("held", "1", store.Absent), put("other", "1", store.Absent))
	_, err := b.Commit(t.Context(), []store.Op{
		put("new", "2", store.Absent), put("other", "2", store.At(revision)),
		drop("held", store.Absent), put("last", "2", store.Any),
	})
	if !resource.Is(err, resource.Conflict) || !strings.Contains(err.Error(), "held") {
		t.Errorf("Commit: %v, want Conflict that names the record held", err)
	}
	wantRecords(t, b, map[string]string{"held": "1", "other": "1"})
	after := commit(t, b, put("other", "3", store.At(revision)))
	if batches := follow(t, b, revision, after); len(batches) != 1 {
		t.Errorf("a watch sees %d batches %v, want the one that was made", len(batches), batches)
	}
}

func lookMakesNoRevision(t *testing.T, b store.Backend) {
	first := commit(t, b, put("a", "1", store.Absent))
	for _, ops := range [][]store.Op{nil, {look("a", store.At(first))}, {look("a", store.Any), look("b", store.Absent)}} {
		if got := commit(t, b, ops...); got != first {
			t.Errorf("Commit(%v) = %d, want the current revision %d", ops, got, first)
		}
	}
	refused(t, b, resource.Conflict, look("a", store.Absent))
	refused(t, b, resource.Conflict, look("b", store.At(first)))
	refused(t, b, resource.Conflict, look("b", store.At(first)), put("c", "1", store.Absent))
	second := commit(t, b, look("a", store.At(first)), put("c", "1", store.Absent))
	items, _ := load(t, b)
	if items["a"].Revision != first || items["c"].Revision != second {
		t.Errorf("records %v, want a of %d and c of %d", items, first, second)
	}
}

func dropOfNothing(t *testing.T, b store.Backend) {
	first := commit(t, b, put("a", "1", store.Absent))
	if got := commit(t, b, drop("b", store.Any)); got != first {
		t.Errorf("dropping nothing made revision %d after %d", got, first)
	}
	second := commit(t, b, drop("b", store.Absent), put("c", "1", store.Absent))
	want := []store.Item{{Key: "c", Value: []byte("1"), Revision: second}}
	batches := follow(t, b, first, second)
	if len(batches) != 1 || !equalItems(batches[0].Items, want) {
		t.Errorf("a watch sees %v, want %v", batches, want)
	}
}

func equalItems(got, want []store.Item) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		same := got[i].Key == want[i].Key && got[i].Revision == want[i].Revision && bytes.Equal(got[i].Value, want[i].Value)
		if !same || (got[i].Value == nil) != (want[i].Value == nil) {
			return false
		}
	}
	return true
}

func revisionsGrow(t *testing.T, b store.Backend) {
	_, last := load(t, b)
	for i := range 20 {
		revision := commit(t, b, put("a", fmt.Sprint(i), store.Any))
		if revision <= last {
			t.Fatalf("revision %d after %d", revision, last)
		}
		items, loaded := load(t, b)
		if items["a"].Revision != revision || loaded != revision {
			t.Fatalf("record of revision %d, loaded at %d, want %d", items["a"].Revision, loaded, revision)
		}
		last = revision
	}
}

func oneOfManyWritersWins(t *testing.T, b store.Backend) {
	var wins atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := b.Commit(t.Context(), []store.Op{put("a", fmt.Sprint(i), store.Absent)})
			switch {
			case err == nil:
				wins.Add(1)
			case !resource.Is(err, resource.Conflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d writers of an absent record succeeded", wins.Load())
	}
}

func anyBytes(t *testing.T, b store.Backend) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := strings.Repeat("x", 512<<10)
	want := map[string]string{"empty": "", "all": string(all), "large": large, "zero": "\x00"}
	_, start := load(t, b)
	last := start
	for _, key := range []string{"empty", "all", "large", "zero"} {
		last = commit(t, b, put(key, want[key], store.Absent))
	}
	last = max(last, commit(t, b, store.Op{Do: store.Write, Key: "nil"}))
	want["nil"] = ""
	wantRecords(t, b, want)
	for _, batch := range follow(t, b, start, last) {
		item := batch.Items[0]
		if item.Value == nil || string(item.Value) != want[item.Key] {
			t.Errorf("a watch sees %s as %d bytes (nil: %t), want %d", item.Key, len(item.Value), item.Value == nil, len(want[item.Key]))
		}
	}
}

func valuesAreOwn(t *testing.T, b store.Backend) {
	value := []byte("one")
	commit(t, b, store.Op{Do: store.Write, Key: "a", Value: value})
	copy(value, "two")
	wantRecords(t, b, map[string]string{"a": "one"})
}

func keysOfManyKinds(t *testing.T, b store.Backend) {
	want := map[string]string{}
	for i, key := range []string{
		"a", "a/", "a/b", "a0", "A", "scalesets/11111111-2222/rg/web", "x y", "ä/日本", "%2F", "..", "a\x00b", "\xff", "\xff\xff",
		"z" + strings.Repeat("/long", 100),
	} {
		want[key] = fmt.Sprint(i)
		commit(t, b, put(key, want[key], store.Absent))
	}
	wantRecords(t, b, want)
	commit(t, b, drop("a", store.Any), drop("\xff", store.Any))
	delete(want, "a")
	delete(want, "\xff")
	wantRecords(t, b, want)
}

func maxOps(t *testing.T, b store.Backend) {
	var puts, checks []store.Op
	want := map[string]string{}
	for i := range store.MaxOps {
		key := fmt.Sprintf("k%03d", i)
		want[key] = "v"
		puts = append(puts, put(key, "v", store.Absent))
	}
	revision := commit(t, b, puts...)
	wantRecords(t, b, want)
	for key := range want {
		checks = append(checks, put(key, "w", store.At(revision)))
		want[key] = "w"
	}
	commit(t, b, checks...)
	wantRecords(t, b, want)
	refused(t, b, resource.Invalid, append(puts, put("more", "v", store.Absent))...)
	wantRecords(t, b, want)
}

func largeCommits(t *testing.T, b store.Backend) {
	half := strings.Repeat("x", 511<<10)
	commit(t, b, put("a", half, store.Any), put("b", half, store.Any))
	refused(t, b, resource.Invalid, put("c", half, store.Any), put("d", half, store.Any), put("e", half, store.Any))
	wantRecords(t, b, map[string]string{"a": half, "b": half})
}

func noTwoOpsNameOneKey(t *testing.T, b store.Backend) {
	refused(t, b, resource.Invalid, put("a", "1", store.Any), put("a", "2", store.Any))
	refused(t, b, resource.Invalid, put("a", "1", store.Any), drop("a", store.Any))
	wantRecords(t, b, map[string]string{})
}
