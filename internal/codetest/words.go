package codetest

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// vagueSuffixes say nothing about what a thing is.
var vagueSuffixes = []string{"Manager", "Helper", "Helpers", "Util", "Utils", "Impl"}

// vaguePackages are names under which anything could be filed.
var vaguePackages = []string{"common", "helper", "helpers", "misc", "shared", "util", "utils"}

// Names returns the packages and exported identifiers whose names say nothing.
func Names(t *Tree) (problems []string) {
	for _, p := range t.Packages {
		if slices.Contains(vaguePackages, strings.TrimSuffix(p.Name, "_test")) {
			problems = append(problems, fmt.Sprintf("%s: package name %s says nothing", p.Path, p.Name))
		}
	}
	for f := range t.code() {
		for _, name := range declared(f.AST) {
			for _, suffix := range vagueSuffixes {
				if name.IsExported() && strings.HasSuffix(name.Name, suffix) {
					problems = append(problems, fmt.Sprintf("%s: %s: a name should not end in %s", t.at(name.Pos()), name.Name, suffix))
				}
			}
		}
	}
	return problems
}

// declared returns the identifiers that a file declares at package level,
// methods included.
func declared(f *ast.File) (names []*ast.Ident) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, d.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, spec.Name)
				case *ast.ValueSpec:
					names = append(names, spec.Names...)
				}
			}
		}
	}
	return names
}

// Ban is a pattern that no text file may contain.
type Ban struct {
	Pattern *regexp.Regexp
	Except  []string // file names and folders ("x/...") that may
	Why     string
}

// Words returns the lines of text files below the root of fsys that contain
// something banned. It passes over hidden folders other than .ci, installed
// modules, build output and files that are not text.
func Words(fsys fs.FS, bans []Ban) (problems []string, err error) {
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed while the walk was under way
		case err != nil:
			return err
		case d.IsDir() && skipWords(name):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || bytes.IndexByte(src[:min(len(src), 8192)], 0) >= 0 {
			return err
		}
		for _, b := range bans {
			problems = append(problems, b.find(name, src)...)
		}
		return nil
	})
	return problems, err
}

func skipWords(dir string) bool {
	base := path.Base(dir)
	hidden := strings.HasPrefix(base, ".") && base != "." && base != ".ci"
	return hidden || base == "node_modules" || dir == "bin"
}

func (b Ban) find(name string, src []byte) (problems []string) {
	if within(name, b.Except) {
		return nil
	}
	for _, at := range b.Pattern.FindAllIndex(src, -1) {
		line := 1 + bytes.Count(src[:at[0]], []byte("\n"))
		problems = append(problems, fmt.Sprintf("%s:%d: %q: %s", name, line, src[at[0]:at[1]], b.Why))
	}
	return problems
}
