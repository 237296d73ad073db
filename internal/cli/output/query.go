package output

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jmespath/go-jmespath"
)

// Search answers a JMESPath query as az does.
func Search(query string, in any) (any, error) { return jmespath.Search(lenient(query), in) }

func parse(query string) (jmespath.ASTNode, error) {
	return jmespath.NewParser().Parse(lenient(query))
}

// part finds the quoted parts of a query: identifiers, raw strings, literals.
var part = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`(?:[^`\\\\]|\\\\.)*`")

// lenient makes strings of literals that are no JSON, such as `Succeeded`. The
// query language has deprecated them long ago; az's parser takes them, and so do
// the examples that people copy.
func lenient(query string) string {
	return part.ReplaceAllStringFunc(query, func(p string) string {
		inner := strings.Trim(p, "`")
		if p[0] != '`' || json.Valid([]byte(strings.ReplaceAll(inner, "\\`", "`"))) {
			return p
		}
		quoted, err := json.Marshal(inner)
		if err != nil {
			return p
		}
		return "`" + string(quoted) + "`"
	})
}

var keyOfHash = regexp.MustCompile(`ASTKeyValPair \{\s*value: ("(?:[^"\\]|\\.)*")`)

// search answers a JMESPath query, and names the members that the query makes
// in the order in which it names them: a Go map forgets it.
func search(query string, in any) (result any, order []string, err error) {
	ast, err := parse(query)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range keyOfHash.FindAllStringSubmatch(ast.PrettyPrint(0), -1) {
		if key, err := strconv.Unquote(m[1]); err == nil {
			order = append(order, key)
		}
	}
	result, err = Search(query, in)
	return result, order, err
}

// keysOf are a result's keys: those of the query in its order, or else sorted.
func keysOf(m map[string]any, order []string) []string {
	keys := slices.Sorted(maps.Keys(m))
	if len(order) > 0 {
		slices.SortStableFunc(keys, func(a, b string) int { return place(order, a) - place(order, b) })
	}
	return keys
}

func place(order []string, key string) int {
	if i := slices.Index(order, key); i >= 0 {
		return i
	}
	return len(order)
}
