package arm

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/muster-vm/muster/internal/resource"
)

// Router finds the route of a request. It is immutable once made.
type Router struct {
	root      node
	providers map[string]*namespace // by lower-case namespace
}

// namespace is what is known of a provider, for the wording of a 404.
type namespace struct{ versions []string }

// node is one segment of the tree of patterns.
type node struct {
	fixed  map[string]*node // by lower-case segment
	any    *node
	leaves map[string]*leaf // by method
}

// leaf is a route with the names of its variables, in the order of the path.
type leaf struct {
	route Route
	vars  []string
}

// NewRouter builds a router. Two routes for the same method and pattern, and a
// pattern without its leading slash, are defects and reported as an error.
func NewRouter(routes []Route) (*Router, error) {
	r := &Router{providers: map[string]*namespace{}}
	for _, route := range routes {
		if err := r.add(route); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Routes lists the routes, in no order.
func (r *Router) Routes() []Route { return r.root.routes() }

func (n *node) routes() (all []Route) {
	for _, l := range n.leaves {
		all = append(all, l.route)
	}
	for _, below := range n.fixed {
		all = append(all, below.routes()...)
	}
	if n.any != nil {
		all = append(all, n.any.routes()...)
	}
	return all
}

func (r *Router) add(route Route) error {
	path, ok := strings.CutPrefix(route.Path, "/")
	if !ok {
		return fmt.Errorf("route %s %s: the path has no leading slash", route.Method, route.Path)
	}
	if (route.Handler == nil) == (route.HTTP == nil) || route.HTTP != nil && !route.Public && (route.Action == "" || route.Scope == "") {
		return fmt.Errorf("route %s %s: wants a Handler, or HTTP that is Public or has an Action and a Scope", route.Method, route.Path)
	}
	l, at := &leaf{route: route}, &r.root
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if name, ok := variable(s); ok {
			l.vars = append(l.vars, name)
			at = at.child("")
			continue
		}
		if i > 0 && strings.EqualFold(segments[i-1], "providers") {
			r.know(s, route.Versions)
		}
		at = at.child(strings.ToLower(s))
	}
	if at.leaves == nil {
		at.leaves = map[string]*leaf{}
	}
	if was, ok := at.leaves[route.Method]; ok {
		return fmt.Errorf("route %s %s is also %s", route.Method, route.Path, was.route.Path)
	}
	at.leaves[route.Method] = l
	return nil
}

func (r *Router) know(provider string, versions []string) {
	key := strings.ToLower(provider)
	if r.providers[key] == nil {
		r.providers[key] = &namespace{versions: versions}
	}
}

// child returns the node below n, made if need be; an empty segment is any.
func (n *node) child(segment string) *node {
	if segment == "" {
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	if n.fixed == nil {
		n.fixed = map[string]*node{}
	}
	if n.fixed[segment] == nil {
		n.fixed[segment] = &node{}
	}
	return n.fixed[segment]
}

// find walks to the node of the path; fixed segments win over variables.
// taken collects the indexes of segments that variables matched.
func (n *node) find(segments []string, at int, taken []int) (*node, []int) {
	if at == len(segments) {
		if n.leaves == nil {
			return nil, nil
		}
		return n, taken
	}
	if next := n.fixed[strings.ToLower(segments[at])]; next != nil {
		if found, vars := next.find(segments, at+1, taken); found != nil {
			return found, vars
		}
	}
	if n.any == nil {
		return nil, nil
	}
	return n.any.find(segments, at+1, append(taken, at))
}

// match is a found route.
type match struct {
	route Route
	vars  map[string]string
}

// match finds the route for a request. Failures are NotFound
// (InvalidResourceNamespace, InvalidResourceType, NotFound) and Invalid
// (MethodNotAllowed).
func (r *Router) match(method string, segments []string, version string) (match, error) {
	found, taken := r.root.find(segments, 0, make([]int, 0, 8))
	if found == nil {
		return match{}, r.unknown(segments, version)
	}
	l, ok := found.leaves[method]
	if !ok {
		return match{}, resource.Errorf(resource.Invalid, codeMethod,
			"The method %s is not allowed at /%.512s; allowed: %s.", method, strings.Join(segments, "/"), strings.Join(found.methods(), ", "))
	}
	m := match{route: l.route, vars: make(map[string]string, len(l.vars))}
	for i, name := range l.vars {
		m.vars[name] = segments[taken[i]]
	}
	return m, nil
}

func (n *node) methods() []string {
	var all []string
	for m := range n.leaves {
		all = append(all, m)
	}
	slices.Sort(all)
	return all
}

// unknown words the 404 for a path that has no route.
func (r *Router) unknown(segments []string, version string) error {
	for i := len(segments) - 2; i >= 0; i-- {
		if !strings.EqualFold(segments[i], "providers") {
			continue
		}
		name := segments[i+1]
		known := r.providers[strings.ToLower(name)]
		if known == nil {
			return resource.Errorf(resource.NotFound, "InvalidResourceNamespace", "The resource namespace '%.64s' is invalid.", name)
		}
		if i+2 == len(segments) {
			break
		}
		var types []string
		for j := i + 2; j < len(segments); j += 2 {
			types = append(types, segments[j])
		}
		return resource.Errorf(resource.NotFound, "InvalidResourceType",
			"The resource type '%.256s' could not be found in the namespace '%.64s' for api version '%.64s'. The supported api-versions are '%s'.",
			strings.Join(types, "/"), name, version, strings.Join(known.versions, ","))
	}
	return resource.Errorf(resource.NotFound, "NotFound", "Nothing is served at /%.256s.", strings.Join(segments, "/"))
}

// split returns the decoded segments of an escaped path. One trailing slash is
// ignored. A segment that decodes to something with a slash or a control
// character, or to what is no text, is Invalid, and so are the two letters whose
// lower case is ASCII: it would name another scope than it seems to.
func split(escaped string) ([]string, error) {
	path := strings.TrimSuffix(strings.TrimPrefix(escaped, "/"), "/")
	if path == "" {
		return nil, nil
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if !strings.ContainsRune(s, '%') {
			continue
		}
		d, err := url.PathUnescape(s)
		if err != nil || !utf8.ValidString(d) || strings.ContainsFunc(d, treacherous) {
			return nil, resource.Errorf(resource.Invalid, "InvalidRequestUri", "The segment %.128q of the path is not valid.", s)
		}
		segments[i] = d
	}
	return segments, nil
}

// treacherous reports whether a character makes a segment seem what it is not.
func treacherous(c rune) bool {
	return c == '/' || c < ' ' || c == 0x7f || c > unicode.MaxASCII && unicode.ToLower(c) <= unicode.MaxASCII
}

// scope returns what a path is about, for authorisation: the longest resource
// id that it starts with.
func scope(segments []string) string {
	n := len(segments) &^ 1
	if n >= 2 && strings.EqualFold(segments[n-2], "providers") {
		n -= 2
	}
	return "/" + strings.Join(segments[:n], "/")
}

// variable returns the name in "{name}".
func variable(segment string) (string, bool) {
	if len(segment) < 3 || segment[0] != '{' || segment[len(segment)-1] != '}' {
		return "", false
	}
	return segment[1 : len(segment)-1], true
}
