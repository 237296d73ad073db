package output

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Shape says how az prints what a command answers.
type Shape int

// The shapes.
const (
	Flat  Shape = iota // members of "properties" stand beside it, names as in az's Python SDK
	Named              // names as in az's Python SDK, "properties" stays
	Wired              // members of "properties" stand beside it, names as on the wire
	AsIs               // made here, in its final form
)

// opaque are members whose keys are data, not names of the API.
var opaque = map[string]bool{"tags": true, "settings": true, "protectedSettings": true, "userAssignedIdentities": true}

// Reshape turns an answer of the SDK into what az prints. Members that are null
// are absent: the SDK does not tell them from those that do not exist.
func Reshape(answer any, s Shape) (any, error) {
	raw, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	if s != AsIs {
		v = s.value(v)
		addGroups(v)
	}
	return v, nil
}

func (s Shape) value(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = s.value(v[i])
		}
		return v
	case map[string]any:
		return s.object(v)
	case string:
		if s != Wired {
			return pythonTime(v)
		}
	}
	return v
}

func (s Shape) object(from map[string]any) map[string]any {
	to := map[string]any{}
	for k, v := range from {
		inner, isObject := v.(map[string]any)
		if k == "properties" && isObject && s != Named {
			continue // below, so that a member of the envelope wins
		}
		name := k
		if s != Wired {
			name = Name(k)
		}
		if opaque[k] && isObject {
			to[name] = inner
			continue
		}
		to[name] = s.value(v)
	}
	if inner, ok := from["properties"].(map[string]any); ok && s != Named {
		for k, v := range s.object(inner) {
			if _, taken := to[k]; !taken {
				to[k] = v
			}
		}
	}
	return to
}

// Name returns a name of the wire as az prints it: its SDK for Python makes
// words of it, and az joins them again ("diskSizeGB" becomes "diskSizeGb").
func Name(wire string) string {
	r := []rune(wire)
	var b strings.Builder
	start := 0 // of the word
	for i := range r {
		if i > 0 && unicode.IsUpper(r[i]) && (!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			start = i
		}
		if i == start && b.Len() > 0 {
			b.WriteRune(r[i])
		} else {
			b.WriteRune(unicode.ToLower(r[i]))
		}
	}
	return b.String()
}

var wireTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)

// pythonTime is a time of the wire as Python prints it.
func pythonTime(s string) string {
	if !wireTime.MatchString(s) {
		return s
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	switch {
	case err != nil:
		return s
	case t.Nanosecond()/1000 == 0:
		return t.Format("2006-01-02T15:04:05") + "+00:00"
	}
	return t.Format("2006-01-02T15:04:05.000000") + "+00:00"
}

// addGroups gives every object whose id is in a resource group the name of it,
// as az does; a group itself is not in one.
func addGroups(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			addGroups(item)
		}
	case map[string]any:
		parts := strings.Split(text(v["id"]), "/")
		if _, has := v["resourceGroup"]; !has && len(parts) > 8 && strings.EqualFold(parts[3], "resourceGroups") {
			v["resourceGroup"] = parts[4]
		}
		for k, item := range v {
			if !opaque[k] {
				addGroups(item)
			}
		}
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
