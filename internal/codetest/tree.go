package codetest

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Tree is the parsed Go source of one module.
type Tree struct {
	Module   string     // module path, as go.mod names it
	Packages []*Package // sorted by Path
	fset     *token.FileSet
}

// Package is one folder of Go files, tests included.
type Package struct {
	Path  string // slash-separated, relative to the module root; "." is the root
	Name  string // package clause of the non-test files, or of the tests if there are no others
	Files []*File
}

// File is one Go file.
type File struct {
	Name      string // relative to the module root
	Test      bool   // name ends in _test.go
	Generated bool   // carries the standard "Code generated" header
	Lines     int
	Imports   []string // import paths in source order
	AST       *ast.File
}

// Load parses every Go file below the root of fsys. It passes over testdata,
// vendored and hidden folders, build output, nested modules and files that are
// excluded from every build.
func Load(fsys fs.FS, module string) (*Tree, error) {
	t := &Tree{Module: module, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed while the walk was under way
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case name != "." && foreign(fsys, name):
			return fs.SkipDir
		}
		p, err := t.loadPackage(fsys, name)
		if p != nil {
			t.Packages = append(t.Packages, p)
		}
		return err
	})
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Path, b.Path) })
	return t, err
}

// foreign reports whether the folder holds no source of this module.
func foreign(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	if slices.Contains([]string{"testdata", "vendor", "node_modules", "bin"}, base) {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

func (t *Tree) loadPackage(fsys fs.FS, dir string) (*Package, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	p := &Package{Path: dir}
	for _, name := range names {
		f, err := t.loadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		p.Files = append(p.Files, f)
		if p.Name == "" || !f.Test {
			p.Name = f.AST.Name.Name
		}
	}
	if len(p.Files) == 0 {
		return nil, nil
	}
	return p, nil
}

// loadFile parses one file. It returns nil for a file that no build includes.
func (t *Tree) loadFile(fsys fs.FS, name string) (*File, error) {
	src, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(src, []byte("//go:build ignore")) {
		return nil, nil
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	f := &File{
		Name:      name,
		Test:      strings.HasSuffix(name, "_test.go"),
		Generated: ast.IsGenerated(syntax),
		Lines:     bytes.Count(src, []byte("\n")),
		AST:       syntax,
	}
	for _, spec := range syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		f.Imports = append(f.Imports, p)
	}
	return f, nil
}

// local returns the folder of an import path of this module, and whether it is
// one.
func (t *Tree) local(importPath string) (string, bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// at renders a position as file:line.
func (t *Tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// span is the number of source lines from the first to the last line of n.
func (t *Tree) span(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

// within reports whether the folder matches one of the patterns: a folder
// itself, or "x/..." for x and everything below it; "..." matches all.
func within(dir string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		root, deep := strings.CutSuffix(p, "...")
		if !deep {
			return dir == p
		}
		root = strings.TrimSuffix(root, "/")
		return root == "" || below(dir, root)
	})
}

// below reports whether dir is root or lies under it.
func below(dir, root string) bool {
	return dir == root || strings.HasPrefix(dir, root+"/")
}
