package block

import "context"

// Stats is what went through a disk: bytes read and written, and operations that
// read and wrote.
type Stats [4]int64

func (s *Stats) add(o Stats) {
	for i, n := range o {
		s[i] += n
	}
}

// Stats returns what went through each disk that is plugged in, by its path.
func (do Command) Stats(ctx context.Context) (map[string]Stats, error) {
	var all []struct {
		QDev  string
		Stats struct {
			Read    int64 `json:"rd_bytes"`
			Written int64 `json:"wr_bytes"`
			Reads   int64 `json:"rd_operations"`
			Writes  int64 `json:"wr_operations"`
		}
	}
	if err := do(ctx, "query-blockstats", nil, &all); err != nil {
		return nil, err
	}
	stats := map[string]Stats{}
	for _, d := range all {
		stats[d.QDev] = Stats{d.Stats.Read, d.Stats.Written, d.Stats.Reads, d.Stats.Writes}
	}
	return stats, nil
}

// Tally adds up what went through disks that come and go, so that the sum never
// becomes less. The zero Tally is empty.
type Tally struct {
	last map[string]Stats
	gone Stats // of disks that were unplugged
}

// Sum returns the sum after another look.
func (t *Tally) Sum(now map[string]Stats) Stats {
	for path, last := range t.last {
		seen, there := now[path]
		if began := there && (seen[0] < last[0] || seen[1] < last[1] || seen[2] < last[2] || seen[3] < last[3]); began || !there {
			t.gone.add(last) // another disk may be there
		}
	}
	t.last = now
	sum := t.gone
	for _, s := range now {
		sum.add(s)
	}
	return sum
}
