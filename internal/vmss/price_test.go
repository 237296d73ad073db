package vmss_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/vmss"
)

func TestMoneyReadsAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := vmss.Money(rapid.Int64Range(0, 999_999_999_999_999).Draw(t, "millionths"))
		if got, err := vmss.ParseMoney(m.String()); err != nil || got != m {
			t.Fatalf("%d is written %s and read %d, %v", m, m, got, err)
		}
		if want := new(big.Rat).SetFrac64(int64(m), 1_000_000); want.Cmp(rat(t, m.String())) != 0 {
			t.Fatalf("%d is written %s", m, m)
		}
	})
	for _, s := range []string{"", "-1", "+1", ".5", "1.", "1e3", "0.0000001", "1,5", "NaN", "1234567890", " 1"} {
		if m, err := vmss.ParseMoney(s); err == nil {
			t.Errorf("%q is read as %s", s, m)
		}
	}
}

func rat(t *rapid.T, s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%s is no number", s)
	}
	return r
}

// TestCostsAddUp compares sums with fractions that have no bounds, up to the
// largest prices and fleets.
func TestCostsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := vmss.Prices{Currency: "EUR", Hour: map[string]vmss.Money{}, DiskGBMonth: vmss.Money(rapid.Int64Range(0, 10_000_000).Draw(t, "disk"))}
		var total vmss.Cost
		compute, disks := new(big.Rat), new(big.Rat)
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			price := vmss.Money(rapid.Int64Range(0, 10_000_000_000).Draw(t, "price"))
			count, gb := rapid.IntRange(0, 100_000).Draw(t, "count"), rapid.IntRange(0, 100_000_000).Draw(t, "gb")
			total = total.Plus(p.Instances(price, count, gb))
			compute.Add(compute, new(big.Rat).Mul(rat(t, price.String()), big.NewRat(int64(count), 1)))
			disks.Add(disks, new(big.Rat).Mul(rat(t, p.DiskGBMonth.String()), big.NewRat(int64(gb), 1)))
		}
		month := new(big.Rat).Add(new(big.Rat).Mul(compute, big.NewRat(730, 1)), disks)
		if got := rat(t, total.Month().String()); got.Cmp(month) != 0 {
			t.Fatalf("a month is %s, want %s", got, month)
		}
		hour := new(big.Rat).Add(compute, new(big.Rat).Quo(disks, big.NewRat(730, 1)))
		off := new(big.Rat).Sub(rat(t, total.Hour().String()), hour)
		if off.Abs(off).Cmp(big.NewRat(1, 2_000_000)) > 0 {
			t.Fatalf("an hour is %s, want %s", total.Hour(), hour.FloatString(9))
		}
	})
}

func TestPricesAreRefusedWithThePlaceAtFault(t *testing.T) {
	good := vmss.Prices{Currency: "EUR", Hour: map[string]vmss.Money{"muster_t1": 4000}}
	if problems := good.Check(); problems != nil {
		t.Fatal(problems)
	}
	if m, ok := good.Of("Muster_T1"); !ok || m != 4000 {
		t.Errorf("a price is found in any letter case: %s %t", m, ok)
	}
	for want, p := range map[string]vmss.Prices{
		"currency: The currency \"euro\"":           {Currency: "euro", Hour: good.Hour},
		"perHour: There is no price":                {Currency: "EUR"},
		"perHour.Huge: There is no VM size":         {Currency: "EUR", Hour: map[string]vmss.Money{"Huge": 1}},
		"perHour.muster_t1: The VM size has":        {Currency: "EUR", Hour: map[string]vmss.Money{"Muster_T1": 1, "muster_t1": 1}},
		"perHour.Muster_T1: The price 10000.000001": {Currency: "EUR", Hour: map[string]vmss.Money{"Muster_T1": 10_000_000_001}},
		"diskPerGBMonth: The price 11 ":             {Currency: "EUR", Hour: good.Hour, DiskGBMonth: 11_000_000},
		"diskPerGBMonth: The price -0.000001 ":      {Currency: "EUR", Hour: good.Hour, DiskGBMonth: -1},
	} {
		var all []string
		for _, e := range p.Check() {
			all = append(all, e.Target+": "+e.Msg)
		}
		if len(all) != 1 || !strings.HasPrefix(all[0], want) {
			t.Errorf("%s, want %s", fmt.Sprint(all), want)
		}
	}
}

func TestOnlyDeallocatedInstancesHoldNothing(t *testing.T) {
	for power, want := range map[vmss.PowerState][2]bool{
		vmss.PowerUnknown: {}, vmss.PowerStarting: {true, true}, vmss.PowerRunning: {true, true}, vmss.PowerStopping: {true, true},
		vmss.PowerStopped: {false, true}, vmss.PowerDeallocating: {false, true}, vmss.PowerDeallocated: {},
	} {
		running, allocated := vmss.Billed(vmss.Observation{Power: power})
		if got := [2]bool{running, allocated}; got != want {
			t.Errorf("%q: running and allocated are %v, want %v", power, got, want)
		}
	}
}

func TestAModelsDisksAreTheImagesUnlessItSaysOtherwise(t *testing.T) {
	m := vmss.Model{Image: vmss.Image{SizeGB: 30}, DataDisks: []vmss.Disk{{SizeGB: 4}, {SizeGB: 8}}}
	if got := m.DiskGB(); got != 42 {
		t.Errorf("%d GB", got)
	}
	m.OSDisk.SizeGB = 64
	if got := m.DiskGB(); got != 76 {
		t.Errorf("%d GB", got)
	}
}
