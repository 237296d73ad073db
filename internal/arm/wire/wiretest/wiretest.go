// Package wiretest holds ledgers to the Azure SDK: every JSON path of its types is
// classified, with its type. It reads the SDK's source and imports none of it.
package wiretest

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/arm/wire"
)

// Covers fails the test for each JSON path of the SDK's types that the ledger lacks,
// has another type for, or does not have as read-only where the SDK does. sameType may
// let the ledger say more than the SDK.
func (s SDK) Covers(t *testing.T, schema *wire.Schema, sameType func(n *wire.Node, sdk string) bool, types ...reflect.Type) {
	t.Helper()
	for _, typ := range types {
		for _, m := range s.paths(typ, "", false, nil) {
			compare(t, schema, m, sameType)
		}
	}
}

func compare(t *testing.T, schema *wire.Schema, m member, sameType func(n *wire.Node, sdk string) bool) {
	t.Helper()
	n := schema.Node(m.path)
	switch {
	case n == nil && coveredByReadOnly(schema, m.path):
	case n == nil:
		t.Errorf("not in the ledger: %s  %s  %s", m.path, m.typ, map[bool]string{true: "readonly", false: "?"}[m.readOnly])
	case !sameType(n, m.typ):
		t.Errorf("%s is %s(%s) in the ledger and %s in the SDK", m.path, n.Type, strings.Join(n.Values, "|"), m.typ)
	case m.readOnly && n.Class != wire.ReadOnly:
		t.Errorf("%s is %s in the ledger and read-only in the SDK", m.path, n.Class)
	}
}

func coveredByReadOnly(schema *wire.Schema, path string) bool {
	for i := range path {
		if path[i] != '.' && path[i] != '[' && path[i] != '{' {
			continue
		}
		if n := schema.Node(path[:i]); n != nil && n.Class == wire.ReadOnly {
			return true
		}
	}
	return false
}

// SameType compares the type of a node with that of the SDK. The ledger may say more
// about strings.
func SameType(n *wire.Node, sdk string) bool {
	switch n.Type {
	case wire.Enum:
		return sdk == "enum("+strings.Join(slices.Sorted(slices.Values(n.Values)), "|")+")"
	case wire.ID, wire.Base64, wire.Duration:
		return sdk == "string"
	}
	return string(n.Type) == sdk
}

// RefusalsAreSentences fails the test for each refusal of the ledger that does not say
// what to do in a sentence.
func RefusalsAreSentences(t *testing.T, schema *wire.Schema) {
	t.Helper()
	var walk func(*wire.Node)
	walk = func(n *wire.Node) {
		if (n.Class == wire.Refused || len(n.Except) > 0) && !strings.HasSuffix(n.Why, ".") {
			t.Errorf("%s: the refusal %q is no sentence", n.Path, n.Why)
		}
		for _, m := range n.Members {
			walk(m)
		}
		if n.Elem != nil {
			walk(n.Elem)
		}
	}
	walk(schema.Root)
}

// SDK knows what the SDK's source says beyond what reflection shows: the values
// of its enums and which fields it marks as read-only.
type SDK struct {
	enums    map[string][]string
	readOnly map[string]bool // "Type.Field"
}

// ReadSDK reads the source of the module with this import path, which the go command
// finds; it skips the test where the module cache has none.
func ReadSDK(t *testing.T, path string) SDK {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Skip("the SDK's source is not in the module cache: ", err)
	}
	s := SDK{enums: map[string][]string{}, readOnly: map[string]bool{}}
	for _, name := range []string{"constants.go", "models.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, s.visit)
	}
	for _, values := range s.enums {
		slices.Sort(values)
	}
	return s
}

func (s SDK) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ValueSpec:
		typ, ok := n.Type.(*ast.Ident)
		if !ok || len(n.Values) != 1 {
			return true
		}
		if lit, ok := n.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			v, _ := strconv.Unquote(lit.Value)
			s.enums[typ.Name] = append(s.enums[typ.Name], v)
		}
	case *ast.TypeSpec:
		st, ok := n.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, f := range st.Fields.List {
			if strings.HasPrefix(f.Doc.Text(), "READ-ONLY") {
				s.readOnly[n.Name.Name+"."+f.Names[0].Name] = true
			}
		}
	}
	return true
}

// member is one JSON path of an SDK type.
type member struct {
	path, typ string
	readOnly  bool
}

// paths lists the JSON paths below typ in the SDK's order.
func (s SDK) paths(typ reflect.Type, prefix string, readOnly bool, above []reflect.Type) []member {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if slices.Contains(above, typ) {
		return nil
	}
	var all []member
	for i := range typ.NumField() {
		f := typ.Field(i)
		ro := readOnly || s.readOnly[typ.Name()+"."+f.Name]
		name := jsonName(typ, i)
		path := name
		if prefix != "" {
			path = prefix + "." + name
		}
		all = append(all, s.member(f.Type, path, ro, append(above, typ))...)
	}
	return all
}

func (s SDK) member(typ reflect.Type, path string, readOnly bool, above []reflect.Type) []member {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	one := func(t string) []member { return []member{{path, t, readOnly}} }
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return one("time")
	case typ == reflect.TypeFor[[]byte]():
		return one("base64")
	}
	switch typ.Kind() {
	case reflect.Struct:
		return append(one("object"), s.paths(typ, path, readOnly, above)...)
	case reflect.Slice:
		return append(one("array"), s.member(typ.Elem(), path+"[]", readOnly, above)...)
	case reflect.Map:
		return append(one("map"), s.member(typ.Elem(), path+"{}", readOnly, above)...)
	case reflect.Interface:
		return one("any")
	case reflect.String:
		if values := s.enums[typ.Name()]; values != nil && typ.Name() != "string" {
			return one("enum(" + strings.Join(values, "|") + ")")
		}
		return one("string")
	case reflect.Float32, reflect.Float64:
		return one("number")
	}
	return one(typ.Kind().String())
}

// jsonName finds the JSON name of field i by encoding a struct in which
// nothing else is set.
func jsonName(typ reflect.Type, i int) string {
	v := reflect.New(typ).Elem()
	f := v.Field(i)
	switch f.Kind() {
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
	case reflect.Slice:
		f.Set(reflect.MakeSlice(f.Type(), 0, 0))
	case reflect.Map:
		f.Set(reflect.MakeMap(f.Type()))
	case reflect.Interface:
		f.Set(reflect.ValueOf("x"))
	}
	raw, err := json.Marshal(v.Addr().Interface())
	if err != nil {
		panic(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || len(m) != 1 {
		panic(typ.Name() + "." + typ.Field(i).Name + " encodes as " + string(raw))
	}
	for name := range m {
		return name
	}
	return ""
}
