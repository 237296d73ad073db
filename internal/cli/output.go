package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jmespath/go-jmespath"
	"sigs.k8s.io/yaml"
)

// formats are the values of --output.
var formats = []string{"json", "jsonc", "none", "table", "tsv", "yaml", "yamlc"}

// printer prints results in one format.
type printer struct {
	format string
	query  string // of the user
	table  string // query that az makes tables with, unless the user has one
}

// check refuses what cannot work, before anything is sent.
func (p printer) check() error {
	if !slices.Contains(formats, p.format) {
		return usage("argument --output/-o: invalid choice: '%s' (choose from '%s')", p.format, strings.Join(formats, "', '"))
	}
	if p.query != "" {
		if _, err := jmespath.Compile(p.query); err != nil {
			return usage("argument --query: invalid jmespath_type value: '%s' (%v)\nTo learn more about --query, see https://jmespath.org", p.query, err)
		}
	}
	return nil
}

// print writes a result; one that is null prints nothing, as in az.
func (p printer) print(w io.Writer, result any) error {
	var order []string
	if p.query != "" {
		var err error
		if result, order, err = search(p.query, result); err != nil {
			return usage("argument --query: %v", err)
		}
	}
	if result == nil {
		return nil
	}
	switch p.format {
	case "none":
		return nil
	case "tsv":
		return printTSV(w, result, order)
	case "table":
		if p.query == "" && p.table != "" {
			var err error
			if result, order, err = search(p.table, result); err != nil {
				return problem("Table output unavailable. Use the --query option to specify an appropriate query. (%v)", err)
			}
		}
		return printTable(w, result, order)
	case "yaml", "yamlc":
		raw, err := yaml.Marshal(result)
		if err != nil {
			return err
		}
		_, err = w.Write(raw)
		return err
	}
	return printJSON(w, result, p.format == "jsonc" && isTerminal(w) && os.Getenv("NO_COLOR") == "")
}

var keyOfHash = regexp.MustCompile(`ASTKeyValPair \{\s*value: ("(?:[^"\\]|\\.)*")`)

// search answers a JMESPath query, and names the members that the query makes
// in the order in which it names them: a Go map forgets it.
func search(query string, in any) (result any, order []string, err error) {
	ast, err := jmespath.NewParser().Parse(query)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range keyOfHash.FindAllStringSubmatch(ast.PrettyPrint(0), -1) {
		if key, err := strconv.Unquote(m[1]); err == nil {
			order = append(order, key)
		}
	}
	result, err = jmespath.Search(query, in)
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

var (
	jsonLine = regexp.MustCompile(`(?m)^(\s*)(?:("(?:[^"\\]|\\.)*")(: ))?(.*?)(,?)$`)
	jsonText = regexp.MustCompile(`^"`)
)

func printJSON(w io.Writer, v any, colour bool) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	out := b.String()
	if colour {
		out = jsonLine.ReplaceAllStringFunc(out, paintLine)
	}
	_, err := io.WriteString(w, out)
	return err
}

func paintLine(line string) string {
	m := jsonLine.FindStringSubmatch(line)
	key, value := m[2], m[4]
	if key != "" {
		key = "\033[94m" + key + "\033[0m"
	}
	switch {
	case jsonText.MatchString(value):
		value = "\033[33m" + value + "\033[0m"
	case value != "" && !strings.ContainsAny(value, "{}[]"):
		value = "\033[36m" + value + "\033[0m"
	}
	return m[1] + key + m[3] + value + m[5]
}

// python prints a scalar as Python's str does, which is what az does in tables
// and in tab-separated rows.
func python(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func printTSV(w io.Writer, result any, order []string) error {
	rows, ok := result.([]any)
	if !ok {
		rows = []any{result}
	}
	for _, row := range rows {
		var cells []string
		switch row := row.(type) {
		case map[string]any:
			for _, k := range keysOf(row, order) {
				cells = append(cells, cellTSV(row[k]))
			}
		case []any:
			for _, v := range row {
				cells = append(cells, cellTSV(v))
			}
		case bool:
			cells = []string{strconv.FormatBool(row)}
		default:
			cells = []string{cellTSV(row)}
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return nil
}

func cellTSV(v any) string {
	switch v := v.(type) {
	case []any:
		return strconv.Itoa(len(v))
	case map[string]any:
		return ""
	default:
		return python(v)
	}
}

// neverInTables are members that az leaves out of tables.
var neverInTables = []string{"id", "type", "etag"}

func printTable(w io.Writer, result any, order []string) error {
	rows, ok := result.([]any)
	if !ok {
		rows = []any{result}
	}
	var columns []string
	var lines []map[string]string
	for _, row := range rows {
		names, cells := tableRow(row, order)
		for _, n := range names {
			if !slices.Contains(columns, n) {
				columns = append(columns, n)
			}
		}
		lines = append(lines, cells)
	}
	return printColumns(w, columns, lines)
}

func tableRow(row any, order []string) (names []string, cells map[string]string) {
	cells = map[string]string{}
	add := func(name string, v any) {
		names = append(names, name)
		cells[name] = python(v)
	}
	switch row := row.(type) {
	case map[string]any:
		for _, k := range keysOf(row, order) {
			switch v := row[k].(type) {
			case nil, []any, map[string]any:
			default:
				if k != "" && !slices.Contains(neverInTables, k) {
					add(strings.ToUpper(k[:1])+k[1:], v)
				}
			}
		}
	case []any:
		for i, v := range row {
			if v == nil {
				v = ""
			}
			add("Column"+strconv.Itoa(i+1), v)
		}
	default:
		add("Result", row)
	}
	return names, cells
}

// printColumns lays rows out under a line of names and a line of dashes.
func printColumns(w io.Writer, columns []string, lines []map[string]string) error {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c) + 2 // az's tables leave room beside names
		for _, l := range lines {
			widths[i] = max(widths[i], utf8.RuneCountInString(l[c]))
		}
	}
	var b strings.Builder
	write := func(cell func(i int) string) {
		var line strings.Builder
		for i := range columns {
			s := cell(i)
			line.WriteString(s + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	write(func(i int) string { return columns[i] })
	if len(columns) > 0 {
		write(func(i int) string { return strings.Repeat("-", widths[i]) })
	}
	for _, l := range lines {
		if len(columns) > 0 {
			write(func(i int) string { return l[columns[i]] })
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
