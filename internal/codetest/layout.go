package codetest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// Layout is the table of packages and the rules between them.
//
// A package imports packages of lower ranks, packages above it in its own
// folder chain (its parent's port) and packages below it (its children). Test
// files may also import packages of their own rank.
type Layout struct {
	Ranks      []string // index is the rank; each string lists folders, "x/..." for a whole tree
	PureRanks  int      // ranks below this number are pure
	Exceptions []Edge   // imports between packages of one rank that are wanted
	Never      []Edge   // imports that no rank permits, tests included
	Fences     []Fence  // imports that only some packages may have
}

// Edge is an import: of one of To by one of From. Both are patterns as in
// Layout.Ranks.
type Edge struct {
	From, To string
	Why      string
}

// Fence keeps an import path, and everything below it, inside some packages.
type Fence struct {
	Path  string   // import path
	In    []string // folders that may import it
	Tests []string // folders whose test files may import it too
	Why   string
}

// rank returns the rank of a folder, or -1 for one that is not in the table.
func (l Layout) rank(dir string) int {
	for rank, row := range l.Ranks {
		if within(dir, strings.Fields(row)) {
			return rank
		}
	}
	return -1
}

// Imports returns the packages that are missing from the table and the imports
// that the table forbids.
func (l Layout) Imports(t *Tree) (problems []string) {
	for _, p := range t.Packages {
		if l.rank(p.Path) < 0 {
			problems = append(problems, fmt.Sprintf("%s: package is not in the table of ranks; give it a place there", p.Path))
			continue
		}
		for _, f := range p.Files {
			for i, im := range f.Imports {
				if why := l.refuse(t, p.Path, im, f.Test); why != "" {
					problems = append(problems, fmt.Sprintf("%s: imports %s: %s", t.at(f.AST.Imports[i].Pos()), im, why))
				}
			}
		}
	}
	return problems
}

// refuse says why a file of dir may not have an import, or "" if it may.
func (l Layout) refuse(t *Tree, dir, importPath string, test bool) string {
	for _, f := range l.Fences {
		if below(importPath, f.Path) && !within(dir, f.In) && (!test || !within(dir, f.Tests)) {
			return f.Why
		}
	}
	to, ok := t.local(importPath)
	if !ok || to == dir {
		return ""
	}
	for _, e := range l.Never {
		if within(dir, []string{e.From}) && within(to, []string{e.To}) {
			return e.Why
		}
	}
	return l.refuseRank(dir, to, test)
}

func (l Layout) refuseRank(from, to string, test bool) string {
	have, want := l.rank(from), l.rank(to)
	switch {
	case want < 0:
		return "it is not in the table of ranks"
	case want < have, below(to, from), below(from, to):
		return ""
	case want > have:
		return fmt.Sprintf("rank %d may not reach up to rank %d", have, want)
	case test, slices.ContainsFunc(l.Exceptions, func(e Edge) bool {
		return within(from, []string{e.From}) && within(to, []string{e.To})
	}):
		return ""
	}
	return fmt.Sprintf("a sibling of the same rank (%d)", have)
}

// impureImports are the standard packages that reach the world outside, keep
// shared state or hide an input.
var impureImports = []string{
	"context", "crypto/rand", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http",
	"os", "os/exec", "os/signal", "os/user", "runtime", "sync", "sync/atomic", "syscall", "unsafe",
}

// impureTime are the functions of package time that read the clock or wait.
var impureTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// Purity returns the places where a package of a pure rank looks at the clock,
// starts a goroutine, or imports something that does I/O, shares state or comes
// from outside the standard library and this module. Test files are free.
func (l Layout) Purity(t *Tree) (problems []string) {
	for _, p := range t.Packages {
		if rank := l.rank(p.Path); rank < 0 || rank >= l.PureRanks {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			problems = append(problems, t.impureImportsOf(f)...)
			problems = append(problems, t.impureCode(f)...)
		}
	}
	return problems
}

func (t *Tree) impureImportsOf(f *File) (problems []string) {
	for i, im := range f.Imports {
		_, own := t.local(im)
		outside := strings.Contains(strings.Split(im, "/")[0], ".") && !own
		if outside || slices.Contains(impureImports, im) {
			problems = append(problems, fmt.Sprintf("%s: pure package imports %s", t.at(f.AST.Imports[i].Pos()), im))
		}
	}
	return problems
}

func (t *Tree) impureCode(f *File) (problems []string) {
	clock := importName(f, "time")
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			problems = append(problems, t.at(n.Pos())+": pure package starts a goroutine")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == clock && slices.Contains(impureTime, n.Sel.Name) {
				problems = append(problems, fmt.Sprintf("%s: pure package uses time.%s; take the time as an input", t.at(n.Pos()), n.Sel.Name))
			}
		}
		return true
	})
	return problems
}

// importName is the identifier by which f refers to an imported package whose
// name is the last element of its path; "" if f does not import it.
func importName(f *File, importPath string) string {
	i := slices.Index(f.Imports, importPath)
	if i < 0 {
		return ""
	}
	if alias := f.AST.Imports[i].Name; alias != nil {
		return alias.Name
	}
	return importPath[strings.LastIndex(importPath, "/")+1:]
}
