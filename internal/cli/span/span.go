// Package span reads times and durations as az's options have them, and writes
// them as the API takes them. It is pure: what time it is comes in as a value.
package span

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Between returns the time from start to end as an interval of ISO 8601. Where
// one of them is empty, it is offset away from the other, or from now.
func Between(start, end, offset string, now time.Time) (string, error) {
	length, err := Period(offset)
	if err != nil {
		return "", err
	}
	var from, to time.Time
	for into, text := range map[*time.Time]string{&from: start, &to: end} {
		if text == "" {
			continue
		}
		if *into, err = moment(text); err != nil {
			return "", err
		}
	}
	switch {
	case !from.IsZero() && to.IsZero():
		to = from.Add(length)
	case to.IsZero():
		from, to = now.UTC().Add(-length), now.UTC()
	case from.IsZero():
		from = to.Add(-length)
	}
	const layout = "2006-01-02T15:04:05.000000Z" // a sample of this very second counts
	return from.Format(layout) + "/" + to.Format(layout), nil
}

func moment(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("unable to parse datetime '%s': use 2026-11-25T10:00:00Z or 2026-11-25 10:00", text)
}

var periodForm = regexp.MustCompile(`^(?i:p?(?:(\d+)d)?t?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)$`)

// Period reads a duration as az writes it, such as 1d12h or 5m, or as ISO 8601.
func Period(text string) (d time.Duration, err error) {
	m := periodForm.FindStringSubmatch(strings.TrimSpace(text))
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m != nil && m[i+1] != "" {
			n, err := strconv.Atoi(m[i+1])
			if err != nil || n > 100_000 {
				return 0, fmt.Errorf("invalid period '%s'", text)
			}
			d += time.Duration(n) * unit
		}
	}
	if m == nil || d == 0 {
		return 0, fmt.Errorf("invalid period '%s'. Use ##d##h##m##s, such as 1h or 5m, or ISO 8601, such as PT5M", text)
	}
	return d, nil
}

// ISO writes a duration as ISO 8601 does, to the second.
func ISO(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d%day == 0:
		return "P" + strconv.Itoa(int(d/day)) + "D"
	case d%time.Hour == 0:
		return "PT" + strconv.Itoa(int(d/time.Hour)) + "H"
	case d%time.Minute == 0:
		return "PT" + strconv.Itoa(int(d/time.Minute)) + "M"
	}
	return "PT" + strconv.Itoa(int(d/time.Second)) + "S"
}
