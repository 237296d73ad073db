package span_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/cli/span"
)

func TestAnEndThatIsNotGivenIsTheOffsetAway(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.FixedZone("", 3600))
	for _, tt := range []struct{ start, end, offset, want string }{
		{"", "", "1h", "2026-11-25T08:00:00.000000Z/2026-11-25T09:00:00.000000Z"},
		{"2026-01-01", "", "1d", "2026-01-01T00:00:00.000000Z/2026-01-02T00:00:00.000000Z"},
		{"", "2026-01-01T10:00:00+02:00", "30m", "2026-01-01T07:30:00.000000Z/2026-01-01T08:00:00.000000Z"},
		{"2026-01-01 10:00", "2026-01-01 11:00:30", "1h", "2026-01-01T10:00:00.000000Z/2026-01-01T11:00:30.000000Z"},
	} {
		got, err := span.Between(tt.start, tt.end, tt.offset, now)
		if err != nil || got != tt.want {
			t.Errorf("Between(%q, %q, %q) = %q, %v, want %q", tt.start, tt.end, tt.offset, got, err, tt.want)
		}
	}
	for _, bad := range [][3]string{{"yesterday", "", "1h"}, {"", "soon", "1h"}, {"", "", ""}} {
		if got, err := span.Between(bad[0], bad[1], bad[2], now); err == nil {
			t.Errorf("Between(%q) = %q, want an error", bad, got)
		}
	}
}

func TestPeriodsAreReadAsAzWritesThemAndAsISO(t *testing.T) {
	for text, want := range map[string]time.Duration{"1d12h": 36 * time.Hour, "5m": 5 * time.Minute, "PT5M": 5 * time.Minute, "P1D": 24 * time.Hour, "90S": 90 * time.Second} {
		if got, err := span.Period(text); err != nil || got != want {
			t.Errorf("Period(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "P", "0m", "-5m", "5", "1w", "999999999999999999999h", "100001d"} {
		if got, err := span.Period(bad); err == nil {
			t.Errorf("Period(%q) = %v, want an error", bad, got)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.IntRange(1, 100_000).Draw(t, "n")) * rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "unit")
		if got, err := span.Period(span.ISO(d)); err != nil || got != d {
			t.Fatalf("%v was written as %s and read as %v, %v", d, span.ISO(d), got, err)
		}
	})
}
