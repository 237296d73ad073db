package disk_test

import (
	"testing"

	"github.com/muster-vm/muster/internal/disk"
)

func TestLimitsFollowFromTypeAndSize(t *testing.T) {
	for _, tt := range []struct {
		sku          string
		gb           int
		limit, burst disk.Limit
	}{
		{"Premium_LRS", 1, disk.Limit{IOPS: 120, MBps: 25}, disk.Limit{IOPS: 3500, MBps: 170}},
		{"Premium_ZRS", 128, disk.Limit{IOPS: 500, MBps: 100}, disk.Limit{IOPS: 3500, MBps: 170}},
		{"Premium_LRS", 513, disk.Limit{IOPS: 5000, MBps: 200}, disk.Limit{}},
		{"Premium_LRS", 32767, disk.Limit{IOPS: 20000, MBps: 900}, disk.Limit{}},
		{"StandardSSD_LRS", 1024, disk.Limit{IOPS: 500, MBps: 100}, disk.Limit{IOPS: 600, MBps: 150}},
		{"Standard_LRS", 8192, disk.Limit{IOPS: 1300, MBps: 300}, disk.Limit{}},
		{"PremiumV2_LRS", 100, disk.Limit{IOPS: 3000, MBps: 125}, disk.Limit{}},
		{"UltraSSD_LRS", 100, disk.Limit{IOPS: 500, MBps: 100}, disk.Limit{}},
		{"", 100, disk.Limit{}, disk.Limit{}},
	} {
		limit, burst := disk.LimitOf(tt.sku, tt.gb), disk.BurstOf(tt.sku, tt.gb)
		if limit != tt.limit || burst != tt.burst {
			t.Errorf("%s of %d GB: got %+v and %+v, want %+v and %+v", tt.sku, tt.gb, limit, burst, tt.limit, tt.burst)
		}
		if burst != (disk.Limit{}) && (burst.IOPS < limit.IOPS || burst.MBps < limit.MBps) {
			t.Errorf("%s of %d GB: the burst is below the limit", tt.sku, tt.gb)
		}
	}
}
