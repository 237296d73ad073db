package output

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Assign changes members of a resource of the SDK as `--set path=value` says.
// Paths are those of what is printed: members of "properties" stand at the top.
func Assign[T any](resource T, sets []string) (T, error) {
	for _, s := range sets {
		path, value, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return resource, argument("invalid syntax: --set %s. Use --set path=value, such as --set upgradePolicy.mode=Automatic", s)
		}
		next, err := assignOne(resource, strings.Split(path, "."), parseValue(value))
		if err != nil {
			return resource, err
		}
		resource = next
	}
	return resource, nil
}

// parseValue reads a value as JSON where it is some, and else as text.
func parseValue(s string) any {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err == nil {
		return v
	}
	switch s {
	case "True":
		return true
	case "False":
		return false
	case "None":
		return nil
	}
	return s
}

// assignOne tries each place that a path can mean, and takes the first that the
// SDK knows: what it does not know, it would drop without a word.
func assignOne[T any](resource T, path []string, value any) (T, error) {
	wanted, _ := json.Marshal(value)
	for _, typed := range []any{value, string(wanted)} { // "1" may be meant as text
		for _, place := range places(resource, path) {
			root, err := toJSON(resource)
			if err != nil {
				return resource, err
			}
			if !put(root, place, typed) {
				continue
			}
			var changed T
			raw, err := json.Marshal(root)
			if err != nil {
				return resource, err
			}
			if json.Unmarshal(raw, &changed) != nil {
				continue // not the type of this member
			}
			if again, err := toJSON(changed); err == nil && (typed == nil || has(again, place)) {
				return changed, nil
			}
		}
	}
	return resource, &MemberError{strings.Join(path, "."), string(wanted)}
}

// MemberError says that a resource has no such member, or not with such a value.
type MemberError struct{ Path, Value string }

// Error implements error.
func (e *MemberError) Error() string {
	return fmt.Sprintf("Couldn't find '%s' in the resource, or %s is not a value for it. `show` prints its members.", e.Path, e.Value)
}

func toJSON(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var root any
	err = json.Unmarshal(raw, &root)
	return root, err
}

// places are the paths on the wire that a path can mean, existing ones first.
func places(resource any, path []string) [][]string {
	root, err := toJSON(resource)
	if err != nil {
		return nil
	}
	var all [][]string
	var walk func(at any, done, left []string)
	walk = func(at any, done, left []string) {
		if len(left) == 0 {
			all = append(all, done)
			return
		}
		object, _ := at.(map[string]any)
		list, isList := at.([]any)
		name := left[0]
		if isList {
			if i, err := strconv.Atoi(strings.Trim(name, "[]")); err == nil && i >= 0 && i < len(list) {
				walk(list[i], extend(done, strconv.Itoa(i)), left[1:])
			}
			return
		}
		for k := range object {
			if k != name && Name(k) == name {
				walk(object[k], extend(done, k), left[1:])
			}
		}
		walk(object[name], extend(done, name), left[1:])
		if inner, ok := object["properties"]; ok && name != "properties" {
			walk(inner, extend(done, "properties"), left)
		}
	}
	walk(root, nil, indexed(path))
	slices.SortStableFunc(all, func(a, b []string) int { return missing(root, a) - missing(root, b) })
	return all
}

func extend(path []string, name string) []string { return append(slices.Clone(path), name) }

// indexed splits "disks[0]" into "disks" and "0".
func indexed(path []string) (all []string) {
	for _, p := range path {
		name, index, ok := strings.Cut(p, "[")
		all = append(all, name)
		if ok {
			all = append(all, strings.TrimSuffix(index, "]"))
		}
	}
	return all
}

// missing counts the last elements of a path that do not exist.
func missing(root any, path []string) int {
	for i := len(path); i > 0; i-- {
		if has(root, path[:i]) {
			return len(path) - i
		}
	}
	return len(path)
}

// step returns what is below v by a name or an index.
func step(v any, name string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		below, ok := v[name]
		return below, ok
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(v) {
			return v[i], true
		}
	}
	return nil, false
}

func has(v any, path []string) bool {
	for _, name := range path {
		var ok bool
		if v, ok = step(v, name); !ok {
			return false
		}
	}
	return true
}

// put sets what a path names, and makes objects on the way to it.
func put(root any, path []string, value any) bool {
	for _, name := range path[:len(path)-1] {
		below, ok := step(root, name)
		if object, isObject := root.(map[string]any); isObject && (!ok || below == nil) {
			below = map[string]any{}
			object[name] = below
		}
		root = below
	}
	last := path[len(path)-1]
	switch v := root.(type) {
	case map[string]any:
		v[last] = value
		return true
	case []any:
		if i, err := strconv.Atoi(last); err == nil && i >= 0 && i < len(v) {
			v[i] = value
			return true
		}
	}
	return false
}
