// Package progress draws how far a long operation is, in one line. It is pure:
// it sees instances as names and states, and knows neither servers nor terminals.
package progress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Gone is the goal of an operation that deletes instances.
const Gone = "gone"

// Failed is the state of an instance that will not reach the goal by itself.
const Failed = "failed"

// Instance is one of those that an operation is about.
type Instance struct {
	Name   string
	State  string // such as running, creating, Failed
	Reason string // why it has failed
}

// Fleet is what an operation is about, at one moment.
type Fleet struct {
	Name      string
	Goal      string // state that instances are to reach
	Wanted    int    // how many are to reach it; 0 for all that there are
	Instances []Instance
	Elapsed   time.Duration
}

// Style is how a line is drawn.
type Style struct {
	Width   int  // columns of the terminal; 0 for no limit
	Colours bool // ANSI colours
	Plain   bool // words alone: no bar and no time, so that the line changes when a state does
}

const barWidth, leastBar = 20, 5

// Line returns the line of a fleet, such as
//
//	web  ██████████████░░░░░░ 7/10 running · 2 creating · 1 failed · 12 s
//
// It is never wider than the terminal: the bar gives way to the counts.
func Line(f Fleet, s Style) string {
	bar := barWidth
	if s.Plain {
		bar = 0
	} else if s.Width > 0 {
		bar = min(bar, s.Width-utf8.RuneCountInString(draw(f, Style{}, 0))-2)
	}
	return draw(f, s, bar)
}

func draw(f Fleet, s Style, bar int) string {
	parts, done, total := count(f)
	line := painter{left: s.Width, colours: s.Colours, unlimited: s.Width == 0}
	line.add("", f.Name)
	if total > 0 && bar >= leastBar {
		filled := done * bar / total
		line.add("", "  ")
		line.add(green, strings.Repeat("█", filled))
		line.add("", strings.Repeat("░", bar-filled))
	}
	if total > 0 {
		separator := " "
		if s.Plain {
			separator = ": "
		}
		line.add("", fmt.Sprintf("%s%d/%d %s", separator, done, total, f.Goal))
	}
	for _, p := range parts {
		colour := ""
		if p.state == Failed {
			colour = red
		}
		line.add("", " · ")
		line.add(colour, fmt.Sprintf("%d %s", p.count, p.state))
	}
	if !s.Plain {
		line.add("", fmt.Sprintf(" · %d s", int(f.Elapsed.Seconds())))
	}
	return line.text.String()
}

type part struct {
	state string
	count int
}

// count returns how many instances are in each state but the goal: most first,
// the failed last.
func count(f Fleet) (parts []part, done, total int) {
	counts := map[string]int{}
	for _, i := range f.Instances {
		counts[i.State]++
	}
	if total = f.Wanted; total == 0 {
		total = len(f.Instances)
	}
	switch spare := len(f.Instances) - total; {
	case f.Goal == Gone:
		total = max(total, len(f.Instances))
		done = total - len(f.Instances)
	case spare < 0:
		done = counts[f.Goal]
		counts["waiting"] -= spare
	default:
		done = min(counts[f.Goal], total)
		if leaving := counts[f.Goal] - done; leaving > 0 {
			counts["leaving"] += leaving
		}
	}
	delete(counts, f.Goal)
	for state, n := range counts {
		parts = append(parts, part{state, n})
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(last(a)-last(b), b.count-a.count, strings.Compare(a.state, b.state))
	})
	return parts, done, total
}

func last(p part) int {
	if p.state == Failed {
		return 1
	}
	return 0
}

const (
	green = "\033[32m"
	red   = "\033[31m"
	plain = "\033[0m"
)

// painter joins pieces until the terminal is full.
type painter struct {
	text      strings.Builder
	left      int // columns
	unlimited bool
	colours   bool
}

func (p *painter) add(colour, piece string) {
	if !p.unlimited {
		if n := utf8.RuneCountInString(piece); n > p.left {
			piece = string([]rune(piece)[:p.left])
		}
		p.left -= utf8.RuneCountInString(piece)
	}
	if piece == "" {
		return
	}
	if colour == "" || !p.colours {
		p.text.WriteString(piece)
		return
	}
	p.text.WriteString(colour + piece + plain)
}

// mostFailures is how many instances are named one by one.
const mostFailures = 10

// Failures returns a line for each instance that has failed, with the reason; and
// of many, the first and how many more there are.
func Failures(all []Instance) (lines []string) {
	failed := 0
	for _, i := range all {
		if i.State != Failed {
			continue
		}
		if failed++; failed > mostFailures {
			continue
		}
		line := i.Name
		if i.Reason != "" {
			line += ": " + i.Reason
		}
		lines = append(lines, line)
	}
	if failed > mostFailures {
		lines = append(lines, fmt.Sprintf("and %d more", failed-mostFailures))
	}
	return lines
}
