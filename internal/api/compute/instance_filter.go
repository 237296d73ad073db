package compute

import (
	"regexp"
	"slices"
	"strings"

	wire "github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// filter is a $filter on instances: conditions that must all hold.
//
//	filter = term { "and" term }
//	term   = "startswith(" codes ",'" text "')" [ "eq" bool ]
//	       | codes "eq '" text "'"
//	       | statuses "/any(" x ":" x "/code eq '" text "')"
//	       | [ "properties/" ] "latestModelApplied eq" bool
//	       | [ "properties/" ] "provisioningState eq '" text "'"
//	statuses = [ "properties/" ] "instanceView/statuses"
//	codes    = statuses "/code"
//
// Words and texts compare without regard to case. A quote in a text is doubled.
type filter []condition

// condition is one term of a filter.
type condition func(set vmss.ScaleSet, row vmss.Instance, seen vmss.Observation) bool

func (f filter) accepts(set vmss.ScaleSet, rec *store.Record) bool {
	if len(f) == 0 {
		return true
	}
	in := inputOf(rec)
	for _, holds := range f {
		if !holds(set, in.Row, in.Seen) {
			return false
		}
	}
	return true
}

const (
	statusesPath = `(?:properties/)?instanceView/statuses`
	quoted       = `'(?P<text>(?:[^']|'')*)'`
	boolean      = `(?P<want>true|false)`
)

// terms are the kinds of terms: how one looks, and what its text and its
// boolean make of it.
var terms = []struct {
	pattern *regexp.Regexp
	holds   func(text string, want bool) condition
}{
	{term(`startswith\s*\(\s*` + statusesPath + `/code\s*,\s*` + quoted + `\s*\)(?:\s+eq\s+` + boolean + `)?`), func(text string, want bool) condition {
		return anyCode(want, func(code string) bool {
			return len(code) >= len(text) && strings.EqualFold(code[:len(text)], text)
		})
	}},
	{term(statusesPath + `/code\s+eq\s+` + quoted), isCode},
	{term(statusesPath + `/any\s*\(\s*(?P<x>\w+)\s*:\s*(?P<y>\w+)/code\s+eq\s+` + quoted + `\s*\)`), isCode},
	{term(`(?:properties/)?latestModelApplied\s+eq\s+` + boolean), func(_ string, want bool) condition {
		return func(set vmss.ScaleSet, row vmss.Instance, _ vmss.Observation) bool {
			return (row.Revision == set.Revision) == want
		}
	}},
	{term(`(?:properties/)?provisioningState\s+eq\s+` + quoted), func(text string, _ bool) condition {
		return func(_ vmss.ScaleSet, row vmss.Instance, seen vmss.Observation) bool {
			return strings.EqualFold(string(vmss.Provisioning(row, seen)), text)
		}
	}},
}

func term(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?i)^` + pattern) }

var and = regexp.MustCompile(`(?i)^\s+and\s+`)

func isCode(text string, want bool) condition {
	return anyCode(want, func(code string) bool { return strings.EqualFold(code, text) })
}

// anyCode holds if the instance has a status code that match accepts; want
// false turns it round.
func anyCode(want bool, match func(code string) bool) condition {
	return func(_ vmss.ScaleSet, row vmss.Instance, seen vmss.Observation) bool {
		return slices.ContainsFunc(wire.StatusCodes(row, seen), match) == want
	}
}

// maxFilter bounds what is parsed.
const maxFilter = 1024

// parseFilter reads a $filter. It fails with Invalid at $filter.
func parseFilter(s string) (filter, error) {
	var f filter
	rest := strings.TrimSpace(s)
	if rest == "" {
		return nil, nil
	}
	for len(s) <= maxFilter {
		holds, n := parseTerm(rest)
		if holds == nil {
			break
		}
		f, rest = append(f, holds), rest[n:]
		if rest == "" {
			return f, nil
		}
		word := and.FindString(rest)
		if word == "" {
			break
		}
		rest = rest[len(word):]
	}
	return nil, resource.Errorf(resource.Invalid, "InvalidFilterInQueryString", "The $filter is not supported at '%.64s'. Join with 'and': %s.", rest,
		"startswith(instanceView/statuses/code, 'PowerState') eq true, instanceView/statuses/any(s: s/code eq 'PowerState/running'), "+
			"properties/latestModelApplied eq false, properties/provisioningState eq 'Failed'").At("$filter")
}

// parseTerm reads the term that s starts with, and says how long it is; nil if
// there is none.
func parseTerm(s string) (condition, int) {
	for _, t := range terms {
		m := t.pattern.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		group := func(name string) string {
			if at := t.pattern.SubexpIndex(name); at > 0 {
				return m[at]
			}
			return ""
		}
		if group("x") == group("y") {
			return t.holds(strings.ReplaceAll(group("text"), "''", "'"), !strings.EqualFold(group("want"), "false")), len(m[0])
		}
	}
	return nil, 0
}
