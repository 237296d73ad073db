package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPagesShowWhatHappens runs the pages that need neither root nor real
// virtual machines.
func TestPagesShowWhatHappens(t *testing.T) { runPages(t, false) }

// runPages runs pages of one kind, and counts what was not run.
func runPages(t *testing.T, e2e bool) {
	t.Helper()
	binaries := build(t)
	ran, skipped := 0, 0
	for _, p := range pages(t) {
		switch {
		case p.e2e && !e2e:
			t.Logf("%s needs root and real virtual machines or the real az: it is run with -tags e2e", p.path)
		case p.e2e == e2e:
			t.Run(p.path, func(t *testing.T) {
				r, s := p.run(t, binaries)
				ran, skipped = ran+r, skipped+s
			})
		}
	}
	t.Logf("%d commands ran as the pages say, %d blocks were not run", ran, skipped)
}

// build compiles the program, and returns the directory that it is in.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", dir, "./cmd/muster")
	cmd.Dir, cmd.Env = root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// run runs a page and returns how many commands ran and how many blocks did not.
func (p page) run(t *testing.T, binaries string) (ran, skipped int) {
	t.Helper()
	var s *session
	for _, b := range p.blocks {
		at := fmt.Sprintf("%s:%d", p.path, b.line)
		if why := b.skip(); why != "" {
			t.Logf("%s is not run: %s", at, why)
			skipped++
			continue
		}
		if b.language == usage {
			checkUsage(t, at, b.body, filepath.Join(binaries, "muster"))
			continue
		}
		file := b.attrs["file"]
		if s == nil && (b.language == console || file != "") {
			s = start(t, binaries, p.e2e)
		}
		if file != "" {
			s.write(file, b.body)
		}
		if b.language == console {
			ran += s.console(p.path, b)
		}
	}
	return ran, skipped
}

// skip returns why the block is not run, or nothing.
func (b block) skip() string {
	if needs := b.attrs["needs"]; needs != "" {
		if _, err := exec.LookPath(needs); err != nil {
			return needs + " is not installed (scripts/install-deps.sh test)"
		}
	}
	return b.attrs["skip"]
}

// write makes a file in the reader's home.
func (s *session) write(file, text string) {
	s.t.Helper()
	path := filepath.Join(s.home, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// console runs the commands of a block.
func (s *session) console(path string, b block) int {
	s.t.Helper()
	_, fails := b.attrs["fails"]
	_, background := b.attrs["background"]
	if _, ok := b.attrs["repository"]; ok {
		s.run("cd " + quote(root()))
		defer s.run(`cd "$HOME"`)
	}
	for _, c := range b.commands {
		if background {
			s.goOn(c)
			continue
		}
		shown, code := s.run(c.text)
		switch {
		case fails != (code != 0):
			s.t.Fatalf("%s:%d: $ %s\nends with %d and shows\n%s%s", path, c.line, c.text, code, shown, s.logs())
		case len(c.want) > 0 && !c.matches(shown):
			s.t.Fatalf("%s:%d: $ %s\nshows\n%s\nand the page says\n%s", path, c.line, c.text, shown, strings.Join(c.want, "\n"))
		}
	}
	return len(b.commands)
}

var (
	option      = regexp.MustCompile(`(?:^|[\s\[|])(--?[a-z][a-z-]*)`)
	commandWord = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// checkUsage compares lines of usage with the help of the commands that they
// name.
func checkUsage(t *testing.T, at, body, muster string) {
	t.Helper()
	for line := range strings.Lines(body) {
		line, _, _ = strings.Cut(line, "#")
		for text := range strings.SplitSeq(line, ";") {
			words := strings.Fields(text)
			if len(words) == 0 {
				continue
			}
			if words[0] != "muster" {
				t.Errorf("%s: usage is of muster, not of %q", at, text)
				continue
			}
			end := slices.IndexFunc(words, func(w string) bool { return !commandWord.MatchString(w) })
			if end < 0 {
				end = len(words)
			}
			name := strings.Join(words[:end], " ")
			help, err := exec.Command(muster, append(slices.Clone(words[1:end]), "--help")...).CombinedOutput()
			if err != nil || !strings.Contains(string(help), "Usage:\n  "+name) {
				t.Errorf("%s: there is no command %q: %s", at, name, help)
			}
			for _, m := range option.FindAllStringSubmatch(text, -1) {
				if !regexp.MustCompile(`(^|[\s,])` + m[1] + `([\s,]|$)`).Match(help) {
					t.Errorf("%s: %s has no option %s", at, name, m[1])
				}
			}
		}
	}
}

// TestAPageCannotHarmTheMachine tries to write outside the home.
func TestAPageCannotHarmTheMachine(t *testing.T) {
	s := start(t, t.TempDir(), false)
	for _, dir := range []string{"/", "/usr", "/etc", "/var", filepath.Dir(s.home), root()} {
		if shown, code := s.run("touch " + dir + "/muster-docs-test"); code == 0 {
			t.Errorf("a page writes to %s %s", dir, shown)
		}
	}
	if shown, code := s.run(`touch "$HOME/x" && mktemp`); code != 0 || !strings.HasPrefix(shown, s.home) {
		t.Errorf("a page cannot write to its home: %s", shown)
	}
}

// TestCodesAreOnesThatAreAnswered looks for the codes of the page about trouble
// in the program.
func TestCodesAreOnesThatAreAnswered(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(), "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	err = filepath.WalkDir(filepath.Join(root(), "internal"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		source.Write(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)` \\|").FindAllStringSubmatch(string(page), -1)
	if len(codes) < 8 {
		t.Errorf("the page has the codes %v", codes)
	}
	for _, m := range codes {
		if !strings.Contains(source.String(), `"`+m[1]+`"`) {
			t.Errorf("nothing answers with %s", m[1])
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksLeadSomewhere follows the links between pages, headings included.
func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for _, more := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		all = append(all, page{path: more})
	}
	for _, p := range all {
		raw, err := os.ReadFile(filepath.Join(root(), p.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := filepath.Join(root(), filepath.Dir(p.path), target)
			if target == "" {
				file = filepath.Join(root(), p.path)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: the link %s leads nowhere", p.path, m[1])
				continue
			}
			if text, err := os.ReadFile(file); anchor != "" && (err != nil || !slices.Contains(anchors(string(text)), anchor)) {
				t.Errorf("%s: %s has no heading for #%s", p.path, target, anchor)
			}
		}
	}
}

// anchors lists the names that headings have in links.
func anchors(text string) (all []string) {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}
