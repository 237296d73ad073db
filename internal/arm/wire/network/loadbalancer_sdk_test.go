package network

import (
	"encoding/json"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sdkPath is the SDK's import path: the test asks the go command for its source.
const sdkPath = "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

// sdk knows what the SDK's source says beyond what reflection shows: the values
// of its enums and which fields it marks as read-only.
type sdk struct {
	enums    map[string][]string
	readOnly map[string]bool // "Type.Field"
}

func readSDK(t *testing.T) sdk {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", sdkPath).Output()
	if err != nil {
		t.Skip("the SDK's source is not in the module cache: ", err)
	}
	s := sdk{enums: map[string][]string{}, readOnly: map[string]bool{}}
	for _, name := range []string{"constants.go", "models.go"} {
		path := filepath.Join(strings.TrimSpace(string(dir)), name)
		file, err := goparser.ParseFile(token.NewFileSet(), path, nil, goparser.ParseComments)
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

func (s sdk) visit(n ast.Node) bool {
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
func (s sdk) paths(typ reflect.Type, prefix string, readOnly bool, above []reflect.Type) []member {
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

func (s sdk) member(typ reflect.Type, path string, readOnly bool, above []reflect.Type) []member {
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
