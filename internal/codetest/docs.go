package codetest

import (
	"fmt"
	"go/ast"
	"strings"
)

// Docs returns the packages without a package comment and the exported names
// without a comment that starts with the name (after an article, if any). A
// comment on a group of constants or variables covers the group. Methods count
// when their type is exported. Test files and generated files are free.
func Docs(t *Tree) (problems []string) {
	for _, p := range t.Packages {
		problems = append(problems, packageDoc(p)...)
		for _, f := range p.Files {
			if f.Test || f.Generated {
				continue
			}
			for _, d := range f.AST.Decls {
				problems = append(problems, t.declDocs(d)...)
			}
		}
	}
	return problems
}

func packageDoc(p *Package) []string {
	code := false
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		code = true
		text := f.AST.Doc.Text()
		if strings.HasPrefix(text, "Package "+p.Name+" ") || p.Name == "main" && text != "" {
			return nil
		}
	}
	if !code {
		return nil
	}
	return []string{fmt.Sprintf("%s: no file has a comment that starts with %q", p.Path, "Package "+p.Name)}
}

func (t *Tree) declDocs(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() || !exportedReceiver(d) {
			return nil
		}
		return t.nameDoc(d.Name, d.Doc)
	case *ast.GenDecl:
		return t.groupDocs(d)
	}
	return nil
}

func (t *Tree) groupDocs(d *ast.GenDecl) (problems []string) {
	grouped := d.Lparen.IsValid()
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() {
				problems = append(problems, t.nameDoc(spec.Name, firstDoc(spec.Doc, ungrouped(d, grouped)))...)
			}
		case *ast.ValueSpec:
			problems = append(problems, t.valueDocs(d, spec, grouped)...)
		}
	}
	return problems
}

func (t *Tree) valueDocs(d *ast.GenDecl, spec *ast.ValueSpec, grouped bool) (problems []string) {
	for _, name := range spec.Names {
		switch {
		case !name.IsExported():
		case grouped && (d.Doc.Text() != "" || spec.Doc.Text() != "" || spec.Comment.Text() != ""):
		case grouped:
			problems = append(problems, fmt.Sprintf("%s: %s has no comment and neither has its group", t.at(name.Pos()), name.Name))
		default:
			problems = append(problems, t.nameDoc(name, firstDoc(spec.Doc, d.Doc))...)
		}
	}
	return problems
}

// nameDoc checks that a comment starts with the name it documents.
func (t *Tree) nameDoc(name *ast.Ident, doc *ast.CommentGroup) []string {
	text := doc.Text()
	for _, article := range []string{"A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(text, article); ok && strings.HasPrefix(rest, name.Name) {
			text = rest
			break
		}
	}
	rest, ok := strings.CutPrefix(text, name.Name)
	if ok && (rest == "" || !isWord(rest[0])) {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s has no comment that starts with its name", t.at(name.Pos()), name.Name)}
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// ungrouped is the declaration's own comment when it holds a single type
// without parentheses.
func ungrouped(d *ast.GenDecl, grouped bool) *ast.CommentGroup {
	if grouped {
		return nil
	}
	return d.Doc
}

func firstDoc(docs ...*ast.CommentGroup) *ast.CommentGroup {
	for _, d := range docs {
		if d.Text() != "" {
			return d
		}
	}
	return nil
}

// exportedReceiver reports whether d is a function, or a method of an exported
// type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}
