package output

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

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
