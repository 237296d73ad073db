package docs

import (
	"strings"
	"testing"
)

// TestNoBlockEscapes shows pages with blocks that nothing would run.
func TestNoBlockEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"```\nmuster serve\n```\n":                              `block of ""`,
		"```sh\nmuster serve\n```\n":                            `block of "sh"`,
		"```console\nmuster serve\n```\n":                       "begins with a command",
		"```console skip\n$ muster serve\n```\n":                "attribute that there is not: skip",
		"```console skip=\"\"\n$ muster serve\n```\n":           "attribute that there is not",
		"```console later\n$ muster serve\n```\n":               "attribute that there is not: later",
		"```console background\n$ muster serve\n```\n":          "what it shows",
		"```text\n$ muster serve\n```\n":                        "tag it console",
		"```console\n$ muster serve\n":                          "has no end",
		"1. As a list has it:\n   ```bash\n   muster\n   ```\n": `block of "bash"`,
	} {
		_, problems := parse("page.md", text)
		if len(problems) != 1 || !strings.Contains(problems[0], want) {
			t.Errorf("%q: %q, want %q", text, problems, want)
		}
	}
}

func TestAPageIsReadAsItIsWritten(t *testing.T) {
	p, problems := parse("page.md", marker+"\n```console skip=\"it needs a second machine\" repository\n$ one \\\n    two\nshown\n$ three\n```\n```yaml file=a/b.yaml\nx: 1\n```\n")
	if problems != nil || !p.e2e || len(p.blocks) != 2 {
		t.Fatalf("%v %+v", problems, p)
	}
	b := p.blocks[0]
	if b.attrs["skip"] != "it needs a second machine" || len(b.commands) != 2 || b.commands[0].text != "one \\\n    two" ||
		len(b.commands[0].want) != 1 || b.commands[1].want != nil || b.commands[1].line != 6 {
		t.Errorf("%+v", b)
	}
	if f := p.blocks[1]; f.attrs["file"] != "a/b.yaml" || f.body != "x: 1\n" {
		t.Errorf("%+v", f)
	}
}

func TestDotsStandForAnything(t *testing.T) {
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{"a\nb", "a\nb\n", true},
		{"a\nb", "a  \nb", true},
		{"a\nb", "a\nb\nc", false},
		{"a\n...\nc", "a\nb\nd\nc", true},
		{"a\n...\nc", "a\nc", true},
		{"a\n...", "a\nb\nc", true},
		{"id ... end", "id 17 (x) end", true},
		{"id ... end", "id 17\nend", false},
		{"a.c", "abc", false},
		{"...\nready https://...", "first\nready https://[::1]:8443", true},
	} {
		cmd := command{want: strings.Split(c.want, "\n")}
		if got := cmd.matches(c.got); got != c.same {
			t.Errorf("%q shows %q: %t", c.want, c.got, got)
		}
	}
	if c := (command{want: []string{"...", "ready ..."}}); c.begins("starting\n") || !c.begins("starting\nready now\nmore\n") {
		t.Error("what goes on is ready once it has shown what it shall")
	}
}
