package remotewrite

import (
	"testing"
	"time"

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
