package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/metrics"
	"github.com/muster-vm/muster/internal/telemetry"
)

func TestAServerWithoutItsArchiveKeepsSeriesInMemoryAndSaysSo(t *testing.T) {
	c := Default()
	c.State = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.State, metricsDir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	a, err := (Parts{Config: c, Telemetry: telemetry.New("v1"), Log: slog.New(slog.NewTextHandler(&log, nil))}).archive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.(*metrics.Memory); !ok || !strings.Contains(log.String(), "kept in memory") {
		t.Errorf("got %T, and the log says %q", a, log.String())
	}
}
