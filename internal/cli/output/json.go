package output

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
)

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
