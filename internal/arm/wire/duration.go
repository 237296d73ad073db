package wire

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// ParseDuration reads an ISO 8601 duration out of weeks, days, hours, minutes
// and seconds, such as PT5M, P1DT12H or PT0.5S. Years and months are refused:
// they have no fixed length. It fails with Invalid, code InvalidParameter.
func ParseDuration(s string) (time.Duration, error) {
	d, ok := parseDuration(s)
	if !ok {
		return 0, resource.Errorf(resource.Invalid, InvalidParameter, "'%s' is not a duration in days, hours, minutes and seconds such as PT5M or P1DT12H.", clip(s))
	}
	return d, nil
}

func parseDuration(s string) (time.Duration, bool) {
	rest, negative := strings.CutPrefix(strings.ToUpper(s), "-")
	rest, ok := strings.CutPrefix(rest, "P")
	if !ok {
		return 0, false
	}
	date, clock, hasClock := strings.Cut(rest, "T")
	if hasClock && clock == "" || date == "" && clock == "" {
		return 0, false
	}
	var total time.Duration
	if !addUnits(&total, date, dateUnits) || !addUnits(&total, clock, clockUnits) {
		return 0, false
	}
	if negative {
		total = -total
	}
	return total, true
}

type unit struct {
	letter byte
	length time.Duration
}

var (
	dateUnits  = []unit{{'W', 7 * 24 * time.Hour}, {'D', 24 * time.Hour}}
	clockUnits = []unit{{'H', time.Hour}, {'M', time.Minute}, {'S', time.Second}}
)

// addUnits adds up numbers with letters, each letter once and in order.
func addUnits(total *time.Duration, s string, units []unit) bool {
	for s != "" {
		end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if end <= 0 {
			return false
		}
		for len(units) > 0 && units[0].letter != s[end] {
			units = units[1:]
		}
		if len(units) == 0 {
			return false
		}
		d, ok := multiply(s[:end], units[0].length)
		if !ok || *total > math.MaxInt64-d {
			return false
		}
		*total += d
		units, s = units[1:], s[end+1:]
	}
	return true
}

// multiply reads a number; only seconds may have a fraction, of at most nine
// digits.
func multiply(number string, length time.Duration) (time.Duration, bool) {
	whole, fraction, has := strings.Cut(number, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/int64(length) {
		return 0, false
	}
	d := time.Duration(n) * length
	if !has {
		return d, true
	}
	if length != time.Second || fraction == "" || len(fraction) > 9 {
		return 0, false
	}
	nanos, err := strconv.ParseInt(fraction+strings.Repeat("0", 9-len(fraction)), 10, 64)
	if err != nil || d > math.MaxInt64-time.Duration(nanos) {
		return 0, false
	}
	return d + time.Duration(nanos), true
}

// FormatDuration writes a duration as Azure does: days, hours, minutes and
// seconds, those that are zero left out, and PT0S for none. The result parses
// to d again, except that the smallest Duration has no positive counterpart
// and is written as the one after it.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "PT0S"
	}
	var b strings.Builder
	if d < 0 {
		b.WriteByte('-')
		d = -max(d, -math.MaxInt64)
	}
	b.WriteByte('P')
	if days := d / (24 * time.Hour); days > 0 {
		b.WriteString(strconv.FormatInt(int64(days), 10) + "D")
		d %= 24 * time.Hour
	}
	if d == 0 {
		return b.String()
	}
	b.WriteByte('T')
	for _, u := range clockUnits[:2] {
		if n := d / u.length; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + string(u.letter))
			d %= u.length
		}
	}
	if d > 0 {
		b.WriteString(seconds(d) + "S")
	}
	return b.String()
}

func seconds(d time.Duration) string {
	s := strconv.FormatInt(int64(d/time.Second), 10)
	nanos := int64(d % time.Second)
	if nanos == 0 {
		return s
	}
	digits := strconv.FormatInt(nanos+1e9, 10)[1:]
	return s + "." + strings.TrimRight(digits, "0")
}
