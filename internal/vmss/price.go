package vmss

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// Money is an amount in millionths of a currency's unit. Whole numbers keep sums
// exact.
type Money int64

const moneyUnit = 1_000_000

// decimal is how an amount is written.
var decimal = regexp.MustCompile(`^[0-9]{1,9}([.][0-9]{1,6})?$`)

// ParseMoney reads an amount such as 0.0384, from 0, with at most six decimals.
func ParseMoney(s string) (Money, error) {
	if !decimal.MatchString(s) {
		return 0, resource.Errorf(resource.Invalid, "InvalidParameter", "The amount %q is not a number from 0 with at most six decimals, such as 0.0384.", s)
	}
	whole, part, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole+(part + "000000")[:6], 10, 64)
	return Money(n), err
}

// String writes the amount without needless zeros.
func (m Money) String() string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	s := fmt.Sprintf("%s%d.%06d", sign, m/moneyUnit, m%moneyUnit)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// The bounds of prices keep what a month of the largest fleet costs within an
// int64.
const (
	mostPerHour    = 10_000 * moneyUnit
	mostPerGBMonth = 10 * moneyUnit
)

// HoursPerMonth is what a month is taken for, as in Azure.
const HoursPerMonth = 730

// Prices say what instances cost.
type Prices struct {
	Currency    string           // ISO 4217, such as "EUR"
	Hour        map[string]Money // of an instance, by the name of its size
	DiskGBMonth Money            // of a GB of its disks; 0 if disks are not counted
}

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// Check returns everything that is wrong with the prices, each of kind Invalid
// with the place at fault.
func (p Prices) Check() (problems []*resource.Error) {
	bad := func(target, format string, args ...any) {
		problems = append(problems, resource.Errorf(resource.Invalid, "InvalidParameter", format, args...).At(target))
	}
	if !currencyCode.MatchString(p.Currency) {
		bad("currency", "The currency %q is not a code of three capital letters, such as EUR.", p.Currency)
	}
	if len(p.Hour) == 0 {
		bad("perHour", "There is no price. Give one for each VM size that is used, such as Muster_T1: 0.004.")
	}
	seen := map[string]string{}
	for _, name := range sortedNames(p.Hour) {
		size, ok := SizeNamed(name)
		switch {
		case !ok:
			bad("perHour."+name, "There is no VM size %q. `muster vm list-sizes` lists those that there are.", name)
		case seen[size.Name] != "":
			bad("perHour."+name, "The VM size has a price already, as %q. Keep one.", seen[size.Name])
		}
		seen[size.Name] = name
		if m := p.Hour[name]; m < 0 || m > mostPerHour {
			bad("perHour."+name, "The price %s is not one from 0 to %s.", m, Money(mostPerHour))
		}
	}
	if p.DiskGBMonth < 0 || p.DiskGBMonth > mostPerGBMonth {
		bad("diskPerGBMonth", "The price %s is not one from 0 to %s.", p.DiskGBMonth, Money(mostPerGBMonth))
	}
	return problems
}

func sortedNames(m map[string]Money) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Of returns the price of an instance of a size for an hour, and whether it has
// one.
func (p Prices) Of(size string) (Money, bool) {
	for name, m := range p.Hour {
		if strings.EqualFold(name, size) {
			return m, true
		}
	}
	return 0, false
}

// Cost is what some instances cost.
type Cost struct {
	Compute Money // in an hour
	Disks   Money // in a month
}

// Instances returns what instances of one price cost, and the disks that they
// have in all.
func (p Prices) Instances(price Money, count, diskGB int) Cost {
	return Cost{Compute: price * Money(count), Disks: p.DiskGBMonth * Money(diskGB)}
}

// Plus adds two costs.
func (c Cost) Plus(d Cost) Cost { return Cost{c.Compute + d.Compute, c.Disks + d.Disks} }

// Hour returns what an hour costs, disks rounded to the nearest millionth.
func (c Cost) Hour() Money { return c.Compute + (c.Disks+HoursPerMonth/2)/HoursPerMonth }

// Month returns what a month costs in which nothing changes.
func (c Cost) Month() Money { return c.Compute*HoursPerMonth + c.Disks }

// DiskGB returns how large the disks are that an instance of the model has.
func (m Model) DiskGB() int {
	gb := m.OSDisk.SizeGB
	if gb == 0 {
		gb = m.Image.SizeGB
	}
	return gb + SizeOfDisks(m.DataDisks)
}

// SizeOfDisks adds up the sizes of data disks.
func SizeOfDisks(disks []Disk) (gb int) {
	for _, d := range disks {
		gb += d.SizeGB
	}
	return gb
}

// Billed says what an instance costs for: running if it uses its host's
// processors or is on its way to or from that, allocated if it holds its place
// on the host, which everything but a deallocated instance does.
func Billed(seen Observation) (running, allocated bool) {
	switch seen.Power {
	case PowerStarting, PowerRunning, PowerStopping:
		return true, true
	case PowerStopped, PowerDeallocating:
		return false, true
	}
	return false, false
}
