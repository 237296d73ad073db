package block_test

import (
	"testing"

	"github.com/muster-vm/muster/internal/host/compute/qemu/block"
)

func TestATallyNeverBecomesLess(t *testing.T) {
	var tally block.Tally
	for i, look := range []struct {
		now  map[string]block.Stats
		want int64
	}{
		{map[string]block.Stats{"a": {10}, "b": {5}}, 15},
		{map[string]block.Stats{"a": {12}}, 17},           // b was unplugged
		{map[string]block.Stats{"a": {12}, "b": {1}}, 18}, // another one came in its place
		{map[string]block.Stats{"a": {3}, "b": {2}}, 22},  // a was replaced between two looks
		{nil, 22},
	} {
		if got := tally.Sum(look.now); got[0] != look.want {
			t.Errorf("look %d: got %d, want %d", i, got[0], look.want)
		}
	}
}
