package wire

import (
	"fmt"
	"slices"
	"strings"
)

// Type is the JSON type of a node.
type Type string

// The types. Enums carry their values in Node.Values.
const (
	String   Type = "string"
	Int32    Type = "int32"
	Int64    Type = "int64"
	Bool     Type = "bool"
	Number   Type = "number"
	Enum     Type = "enum"
	ID       Type = "id"
	Base64   Type = "base64"
	Duration Type = "duration"
	Time     Type = "time"
	Any      Type = "any"
	Object   Type = "object"
	Array    Type = "array"
	Map      Type = "map"
)

var types = []Type{String, Int32, Int64, Bool, Number, Enum, ID, Base64, Duration, Time, Any, Object, Array, Map}

// Class says what a member is worth here; see the package comment.
type Class string

// The classes.
const (
	Acts     Class = "acts"
	Echoed   Class = "echoed"
	Fixed    Class = "fixed"
	ReadOnly Class = "readonly"
	Secret   Class = "secret"
	Refused  Class = "refused"
)

var classes = []Class{Acts, Echoed, Fixed, ReadOnly, Secret, Refused}

// Node is one line of a ledger. Nodes never change once the ledger is read.
type Node struct {
	Path    string
	Name    string // of a member; empty for the root and for elements
	Type    Type
	Values  []string // of an enum, in canonical case
	Class   Class
	Except  []string // values of an enum that are refused
	Why     string   // what to do where a value is refused; own or inherited
	Members []*Node  // of an object, in canonical order
	Elem    *Node    // of an array or map

	byFold map[string]*Node
}

// Schema is a ledger that was read. It is safe for concurrent use.
type Schema struct {
	Root  *Node
	nodes map[string]*Node
}

// Node returns the node with this path, or nil.
func (s *Schema) Node(path string) *Node { return s.nodes[path] }

// Member returns an object's member with this name, in any letter case, or nil.
func (n *Node) Member(name string) *Node { return n.byFold[strings.ToLower(name)] }

// offered are the values of an enum that are not refused.
func (n *Node) offered() []string {
	return slices.DeleteFunc(slices.Clone(n.Values), func(v string) bool { return slices.Contains(n.Except, v) })
}

// ParseLedger reads a ledger. Its errors name the line.
func ParseLedger(text string) (*Schema, error) {
	root := &Node{Type: Object, Class: Acts, byFold: map[string]*Node{}}
	s := &Schema{Root: root, nodes: map[string]*Node{"": root}}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		n, err := parseLine(line)
		if err == nil {
			err = s.add(n)
		}
		if err != nil {
			return nil, fmt.Errorf("ledger line %d: %w", i+1, err)
		}
	}
	return s, nil
}

// MustParseLedger is ParseLedger for a ledger that is part of the program: a
// mistake in it is a mistake in the program.
func MustParseLedger(text string) *Schema {
	s, err := ParseLedger(text)
	if err != nil {
		panic(err)
	}
	return s
}

func parseLine(line string) (*Node, error) {
	f := strings.SplitN(line, "  ", 3)
	if len(f) != 3 {
		return nil, fmt.Errorf("want path, type and class with two spaces between them, got %q", line)
	}
	n := &Node{Path: f[0]}
	typ, values, isEnum := strings.Cut(f[1], "(")
	n.Type = Type(typ)
	if isEnum {
		n.Values = strings.Split(strings.TrimSuffix(values, ")"), "|")
	}
	if !slices.Contains(types, n.Type) || isEnum != (n.Type == Enum) {
		return nil, fmt.Errorf("%s: unknown type %q", n.Path, f[1])
	}
	class, why, _ := strings.Cut(f[2], ": ")
	class, except, has := strings.Cut(class, " except ")
	n.Class, n.Why = Class(class), why
	if has {
		n.Except = strings.Split(except, "|")
	}
	if !slices.Contains(classes, n.Class) {
		return nil, fmt.Errorf("%s: unknown class %q", n.Path, class)
	}
	for _, v := range n.Except {
		if !slices.Contains(n.Values, v) {
			return nil, fmt.Errorf("%s: %q is not a value of the enum", n.Path, v)
		}
	}
	if has && n.Why == "" {
		return nil, fmt.Errorf("%s: refused values need a sentence", n.Path)
	}
	return n, nil
}

// add hangs n below its parent, which must be there.
func (s *Schema) add(n *Node) error {
	if s.nodes[n.Path] != nil {
		return fmt.Errorf("%s is listed twice", n.Path)
	}
	parentPath, isElem := parentOf(n.Path)
	parent := s.nodes[parentPath]
	if parent == nil {
		return fmt.Errorf("%s comes before its parent", n.Path)
	}
	if n.Class == Refused && n.Why == "" && len(n.Except) == 0 {
		n.Why = parent.Why
		if n.Why == "" {
			return fmt.Errorf("%s is refused without a sentence", n.Path)
		}
	}
	s.nodes[n.Path] = n
	if isElem {
		parent.Elem = n
		return nil
	}
	if parent.Type != Object {
		return fmt.Errorf("%s: its parent is no object", n.Path)
	}
	n.Name = n.Path[strings.LastIndex(n.Path, ".")+1:]
	n.byFold = map[string]*Node{}
	parent.Members = append(parent.Members, n)
	if parent.byFold == nil {
		parent.byFold = map[string]*Node{}
	}
	parent.byFold[strings.ToLower(n.Name)] = n
	return nil
}

func parentOf(path string) (parent string, isElem bool) {
	if p, ok := strings.CutSuffix(path, "[]"); ok {
		return p, true
	}
	if p, ok := strings.CutSuffix(path, "{}"); ok {
		return p, true
	}
	return path[:max(0, strings.LastIndex(path, "."))], false
}
