package codetest

import (
	"fmt"
	"go/ast"
	"slices"
)

// Budget limits how large things may grow. Sizes are lines of non-test code;
// generated files, functions that are only a table, and variables declared as a
// composite literal are not counted.
type Budget struct {
	FunctionP90, FunctionP99, FunctionMax int
	FewFunctions                          int // the percentiles are checked from this many functions on
	File                                  int
	Package                               int
	Depth                                 int      // imports on the longest chain inside internal/
	FanOut                                int      // packages of this module that one package imports
	FanOutFree                            []string // folders whose fan-out is not limited
}

// sized is a function and its length.
type sized struct {
	where string
	lines int
}

// Check returns everything in the tree that is over the budget.
func (b Budget) Check(t *Tree) []string {
	return slices.Concat(b.functions(t), b.sizes(t), b.imports(t))
}

func (b Budget) functions(t *Tree) (problems []string) {
	var all []sized
	for f := range t.code() {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil && !isTableFunc(fn) {
				all = append(all, sized{t.at(fn.Pos()) + ": " + fn.Name.Name, t.span(fn)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b sized) int { return a.lines - b.lines })
	for _, fn := range all {
		if fn.lines > b.FunctionMax {
			problems = append(problems, fmt.Sprintf("%s has %d lines, more than %d", fn.where, fn.lines, b.FunctionMax))
		}
	}
	if len(all) < max(b.FewFunctions, 1) {
		return problems
	}
	problems = append(problems, percentile(all, 90, b.FunctionP90)...)
	return append(problems, percentile(all, 99, b.FunctionP99)...)
}

// percentile checks one percentile (nearest rank) of the sorted lengths and
// names the functions that stand above the limit.
func percentile(sorted []sized, percent, limit int) []string {
	at := (len(sorted)*percent + 99) / 100
	if sorted[at-1].lines <= limit {
		return nil
	}
	problems := []string{fmt.Sprintf("functions: %d%% are up to %d lines long, more than %d; the longest:", percent, sorted[at-1].lines, limit)}
	for _, fn := range slices.Backward(sorted[at-1:]) {
		problems = append(problems, fmt.Sprintf("  %s has %d lines", fn.where, fn.lines))
	}
	return problems
}

func (b Budget) sizes(t *Tree) (problems []string) {
	for _, p := range t.Packages {
		total := 0
		for _, f := range p.Files {
			if f.Test || f.Generated {
				continue
			}
			lines := f.Lines - t.tableLines(f)
			total += lines
			if lines > b.File {
				problems = append(problems, fmt.Sprintf("%s has %d lines, more than %d", f.Name, lines, b.File))
			}
		}
		if total > b.Package {
			problems = append(problems, fmt.Sprintf("%s: package has %d lines, more than %d", p.Path, total, b.Package))
		}
	}
	return problems
}

func (b Budget) imports(t *Tree) (problems []string) {
	graph := t.graph()
	for _, p := range t.Packages {
		if n := len(graph[p.Path]); n > b.FanOut && !within(p.Path, b.FanOutFree) {
			problems = append(problems, fmt.Sprintf("%s: imports %d packages of this module, more than %d", p.Path, n, b.FanOut))
		}
	}
	depth := map[string]int{}
	for _, p := range t.Packages {
		if n := deepest(graph, p.Path, depth); n > b.Depth && within(p.Path, []string{"internal/..."}) {
			problems = append(problems, fmt.Sprintf("%s: import chain of %d, more than %d", p.Path, n, b.Depth))
		}
	}
	return problems
}

// graph maps each folder to the folders of this module that its non-test files
// import, sorted.
func (t *Tree) graph() map[string][]string {
	g := map[string][]string{}
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, im := range f.Imports {
				if to, ok := t.local(im); ok && !slices.Contains(g[p.Path], to) {
					g[p.Path] = append(g[p.Path], to)
				}
			}
		}
		slices.Sort(g[p.Path])
	}
	return g
}

// deepest is the number of imports on the longest chain that starts at dir.
// The compiler refuses cycles; here one merely counts as no deeper.
func deepest(graph map[string][]string, dir string, known map[string]int) int {
	if n, ok := known[dir]; ok {
		return n
	}
	known[dir] = 0
	n := 0
	for _, to := range graph[dir] {
		n = max(n, 1+deepest(graph, to, known))
	}
	known[dir] = n
	return n
}

// code yields the files that budgets count.
func (t *Tree) code() func(yield func(*File) bool) {
	return func(yield func(*File) bool) {
		for _, p := range t.Packages {
			for _, f := range p.Files {
				if !f.Test && !f.Generated && !yield(f) {
					return
				}
			}
		}
	}
}

// tableLines counts the lines of a file that are package-level composite
// literals.
func (t *Tree) tableLines(f *File) (lines int) {
	for _, d := range f.AST.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok && len(v.Values) > 0 && allFunc(v.Values, isComposite) {
				lines += t.span(v)
			}
		}
	}
	return lines
}

// isTableFunc reports whether a function does nothing but return a composite
// literal, or switch to a single returned value.
func isTableFunc(fn *ast.FuncDecl) bool {
	switch list := fn.Body.List; {
	case len(list) == 1 && isReturn(list[0], isComposite):
		return true
	case len(list) == 1 || len(list) == 2 && isReturn(list[1], isPlain):
		s, ok := list[0].(*ast.SwitchStmt)
		return ok && allFunc(s.Body.List, func(c ast.Stmt) bool {
			body := c.(*ast.CaseClause).Body
			return len(body) == 1 && isReturn(body[0], isPlain)
		})
	}
	return false
}

func isReturn(s ast.Stmt, each func(ast.Expr) bool) bool {
	r, ok := s.(*ast.ReturnStmt)
	return ok && len(r.Results) > 0 && allFunc(r.Results, each)
}

func isComposite(e ast.Expr) bool {
	if u, ok := e.(*ast.UnaryExpr); ok {
		e = u.X
	}
	_, ok := e.(*ast.CompositeLit)
	return ok
}

// isPlain reports whether an expression is a literal or a name.
func isPlain(e ast.Expr) bool {
	switch e.(type) {
	case *ast.BasicLit, *ast.Ident, *ast.SelectorExpr:
		return true
	}
	return isComposite(e)
}

func allFunc[E any](s []E, ok func(E) bool) bool {
	return !slices.ContainsFunc(s, func(e E) bool { return !ok(e) })
}
