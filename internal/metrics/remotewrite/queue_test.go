package remotewrite

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/muster-vm/muster/internal/metrics"
)

func TestSeriesOfASetThatIsGoneHaveNoEmptyLabels(t *testing.T) {
	s := metrics.Summary{At: time.Unix(60, 0)}
	s.Points[metrics.PercentageCPU] = metrics.PointOf(s.At, 1)
	all := series("uid", "", "", []metrics.Summary{s})
	if len(all) != 4 {
		t.Fatalf("%d series, want 4", len(all))
	}
	for _, l := range all[0].Labels {
		if l.Value == "" {
			t.Errorf("label %s is empty", l.Name)
		}
	}
}

func TestWhatWaitsForAReceiverIsBounded(t *testing.T) {
	q := &queue{wake: make(chan struct{}, 1)}
	for i := range 5 {
		all := make([]prompb.TimeSeries, most/2)
		all[0].Labels = []prompb.Label{{Name: "n", Value: string(rune('0' + i))}}
		q.add(all)
	}
	if len(q.waiting) != most || cap(q.waiting) > 4*most {
		t.Errorf("%d wait in room for %d, want %d", len(q.waiting), cap(q.waiting), most)
	}
	first, dropped := q.next()
	if len(first) != batch || dropped != most*3/2 || first[0].Labels[0].Value != "3" {
		t.Errorf("%d come first, of %v, after %d were dropped; want the oldest dropped", len(first), first[0].Labels, dropped)
	}
}
