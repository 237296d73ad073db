// Package docs runs what the documentation says: every command of a page, in
// order, in one shell, and compares what is shown with what is said. A block
// that is not run has to say why.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is a page of documentation.
type page struct {
	path   string // below the root of the repository
	e2e    bool   // it needs root, and real virtual machines or the real az
	blocks []block
}

// block is a fenced block of a page.
type block struct {
	line     int // of the fence
	language string
	attrs    map[string]string
	body     string
	commands []command // of a console
}

// command is a line of a console, and what is shown below it.
type command struct {
	line int
	text string
	want []string
}

// The languages that a block may be in. A console is run, usage is compared
// with the help of the commands, and data is written to a file if the block
// names one.
const (
	console = "console"
	usage   = "usage"
)

var data = []string{"yaml", "json", "ini", "hcl", "go", "python", "bicep", "text"}

// attributes are what a console may say of itself, beside its language:
//
//	skip="why"   it is not run, for this reason
//	background   it is the first terminal: it goes on while later blocks run, once it has shown what is below it
//	fails        its commands fail
//	needs=NAME   it is not run where this program is not installed
//	repository   it is run in the repository, not in the reader's home
//
// and file=NAME of data is the file that it is written to.
var attribute = regexp.MustCompile(`^(skip="[^"]+"|background|fails|repository|needs=[a-z0-9-]+|file=[A-Za-z0-9._/-]+)$`)

var (
	fence = regexp.MustCompile("^(```+)(.*)$")
	words = regexp.MustCompile(`[a-z]+="[^"]*"|\S+`)
)

// marker is the comment that has a page run by the end-to-end tests.
const marker = "<!-- docs: e2e -->"

// parse reads a page. The problems are what would escape the tests.
func parse(path, text string) (p page, problems []string) {
	p = page{path: path, e2e: strings.Contains(text, marker+"\n")}
	bad := func(line int, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s:%d: %s", path, line, fmt.Sprintf(format, args...)))
	}
	var open *block
	var ticks string
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case open == nil && m != nil:
			ticks = m[1]
			open = readFence(i+1, m[2], bad)
		case open != nil && m != nil && m[1] == ticks && strings.TrimSpace(m[2]) == "":
			open.finish(bad)
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.body += line + "\n"
		}
	}
	if open != nil {
		bad(open.line, "the block has no end")
	}
	return p, problems
}

func readFence(line int, info string, bad func(line int, format string, args ...any)) *block {
	b := &block{line: line, attrs: map[string]string{}}
	for n, word := range words.FindAllString(info, -1) {
		if n == 0 {
			b.language = word
			continue
		}
		key, value, _ := strings.Cut(word, "=")
		if b.attrs[key] = strings.Trim(value, `"`); !attribute.MatchString(word) {
			bad(line, "the block has an attribute that there is not: %s", word)
		}
	}
	return b
}

// finish reads the body of a block.
func (b *block) finish(bad func(line int, format string, args ...any)) {
	switch {
	case b.language == console:
		b.readConsole(bad)
	case b.language == usage, slices.Contains(data, b.language):
		if strings.Contains("\n"+b.body, "\n$ ") {
			bad(b.line, "a block of %s has commands: tag it console", b.language)
		}
	default:
		bad(b.line, "no test knows what to do with a block of %q: tag it console (commands), usage, or one of %v", b.language, data)
	}
}

func (b *block) readConsole(bad func(line int, format string, args ...any)) {
	goesOn := false
	for i, line := range strings.Split(strings.TrimSuffix(b.body, "\n"), "\n") {
		text, begins := strings.CutPrefix(line, "$ ")
		last := len(b.commands) - 1
		switch {
		case begins:
			b.commands = append(b.commands, command{line: b.line + i + 1, text: text})
		case last < 0:
			bad(b.line+i+1, "a console begins with a command: $ ...")
			return
		case goesOn:
			b.commands[last].text += "\n" + strings.TrimPrefix(line, "> ")
		default:
			b.commands[last].want = append(b.commands[last].want, line)
		}
		goesOn = (begins || goesOn) && strings.HasSuffix(line, `\`)
	}
	if _, bg := b.attrs["background"]; bg && (len(b.commands) != 1 || len(b.commands[0].want) == 0) {
		bad(b.line, "a block in the background has one command, and below it what it shows once it is ready")
	}
}

// matches compares what a command shows with what the page says: ... stands for
// anything, on a line of its own for any lines.
func (c command) matches(got string) bool {
	return c.pattern("$").MatchString(trimLines(got))
}

// begins reports whether what was shown so far has all that the page says.
func (c command) begins(got string) bool { return c.pattern("").MatchString(trimLines(got)) }

func (c command) pattern(end string) *regexp.Regexp {
	var all strings.Builder
	all.WriteString("^")
	for _, line := range c.want {
		if strings.TrimSpace(line) == "..." {
			all.WriteString(`(?s:.*?)`)
			continue
		}
		parts := strings.Split(strings.TrimRight(line, " "), "...")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		all.WriteString(strings.Join(parts, ".*") + `\n`)
	}
	return regexp.MustCompile(all.String() + end)
}

func trimLines(s string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimSpace(s)) {
		out.WriteString(strings.TrimRight(line, " \r\n") + "\n")
	}
	return out.String()
}

// root is the top of the repository.
func root() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

// pages reads README.md and everything below docs but the decisions.
func pages(t *testing.T) (all []page) {
	t.Helper()
	files := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/api/*.md"} {
		found, err := filepath.Glob(filepath.Join(root(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(root(), f)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, rel)
		}
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(root(), f))
		if err != nil {
			t.Fatal(err)
		}
		p, problems := parse(f, string(raw))
		for _, problem := range problems {
			t.Error(problem)
		}
		all = append(all, p)
	}
	return all
}
