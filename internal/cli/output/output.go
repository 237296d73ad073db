package output

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// Formats are the values of --output.
var Formats = []string{"json", "jsonc", "none", "table", "tsv", "yaml", "yamlc"}

// Printer prints results in one format.
type Printer struct {
	Format string
	Query  string // of the user
	Table  string // query that az makes tables with, unless the user has one
	// Rows does that where no query can: it returns the rows, and the columns that
	// come first, in order.
	Rows func(result any) (rows []any, columns []string)
	// Text words the result, in place of Format, unless there is a query.
	Text func(result any) string
}

// ArgumentError says that an option of the user cannot work.
type ArgumentError struct{ Text string }

// Error implements error.
func (e *ArgumentError) Error() string { return e.Text }

func argument(format string, args ...any) error {
	return &ArgumentError{fmt.Sprintf(format, args...)}
}

// Check refuses what cannot work, before anything is sent: with an
// *ArgumentError.
func (p Printer) Check() error {
	if !slices.Contains(Formats, p.Format) {
		return argument("argument --output/-o: invalid choice: '%s' (choose from '%s')", p.Format, strings.Join(Formats, "', '"))
	}
	if p.Query != "" {
		if _, err := parse(p.Query); err != nil {
			return argument("argument --query: invalid jmespath_type value: '%s' (%v)\nTo learn more about --query, see https://jmespath.org", p.Query, err)
		}
	}
	return nil
}

// Print writes a result that Reshape made; one that is null prints nothing, as in
// az.
func (p Printer) Print(w io.Writer, result any) error {
	var order []string
	if p.Query != "" {
		var err error
		if result, order, err = search(p.Query, result); err != nil {
			return argument("argument --query: %v", err)
		}
	}
	if result == nil {
		return nil
	}
	if p.Text != nil && p.Query == "" {
		_, err := io.WriteString(w, p.Text(result))
		return err
	}
	switch p.Format {
	case "none":
		return nil
	case "tsv":
		return printTSV(w, result, order)
	case "table":
		if p.Query == "" && p.Rows != nil {
			rows, columns := p.Rows(result)
			return printTable(w, rows, columns)
		}
		if p.Query == "" && p.Table != "" {
			var err error
			if result, order, err = search(p.Table, result); err != nil {
				return argument("Table output unavailable. Use the --query option to specify an appropriate query. (%v)", err)
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
	return printJSON(w, result, p.Format == "jsonc" && Colours(w))
}

// Terminal reports whether somebody sits at a stream.
func Terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width is how many columns a terminal has, or 0 for what is none.
func Width(stream any) int {
	f, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// Colours reports whether a stream is one that shows colours.
//
// Source: https://no-color.org
func Colours(w io.Writer) bool { return Terminal(w) && os.Getenv("NO_COLOR") == "" }
