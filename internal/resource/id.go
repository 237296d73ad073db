package resource

import (
	"slices"
	"strings"
)

// ID names one ARM resource:
//
//	/subscriptions/{Subscription}/resourceGroups/{Group}/providers/{Provider}/{Types[0]}/{Names[0]}/{Types[1]}/{Names[1]}...
//
// A subscription-level id has no Group, a resource group's id has no Provider.
// Ids compare without regard to case (see Key); the case that was given is
// kept for display.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
// and the Resource Manager RPC, "resource ids are case-insensitive".
type ID struct {
	Subscription string
	Group        string
	Provider     string // namespace, such as Microsoft.Compute
	Types        []string
	Names        []string
}

// maxID bounds what ParseID looks at.
const maxID = 2048

// ParseID parses an id in any letter case. It fails with Invalid, code
// LinkedInvalidPropertyId, naming what is wrong.
func ParseID(s string) (ID, error) {
	bad := func(why string) (ID, error) {
		shown := s
		if len(shown) > 256 {
			shown = shown[:256] + "..."
		}
		return ID{}, Errorf(Invalid, "LinkedInvalidPropertyId", "%q is not a resource id: %s.", shown, why)
	}
	if len(s) > maxID {
		return bad("it is longer than 2048 characters")
	}
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return bad("it does not start with a slash")
	}
	seg := strings.Split(rest, "/")
	if slices.Contains(seg, "") {
		return bad("it has an empty segment")
	}
	if len(seg) < 2 || !strings.EqualFold(seg[0], "subscriptions") {
		return bad("it does not start with /subscriptions/{id}")
	}
	id := ID{Subscription: seg[1]}
	seg = seg[2:]
	if len(seg) >= 2 && strings.EqualFold(seg[0], "resourceGroups") {
		id.Group, seg = seg[1], seg[2:]
	}
	if len(seg) == 0 {
		return id, nil
	}
	if len(seg) < 2 || !strings.EqualFold(seg[0], "providers") {
		return bad("after the scope comes /providers/{namespace}")
	}
	id.Provider, seg = seg[1], seg[2:]
	if len(seg) == 0 || len(seg)%2 != 0 {
		return bad("after the namespace come pairs of type and name")
	}
	for i := 0; i < len(seg); i += 2 {
		id.Types, id.Names = append(id.Types, seg[i]), append(id.Names, seg[i+1])
	}
	return id, nil
}

// String returns the id with the canonical fixed segments.
func (id ID) String() string {
	var b strings.Builder
	b.WriteString("/subscriptions/")
	b.WriteString(id.Subscription)
	if id.Group != "" {
		b.WriteString("/resourceGroups/")
		b.WriteString(id.Group)
	}
	if id.Provider == "" {
		return b.String()
	}
	b.WriteString("/providers/")
	b.WriteString(id.Provider)
	for i := range id.Types {
		b.WriteString("/")
		b.WriteString(id.Types[i])
		b.WriteString("/")
		b.WriteString(id.Names[i])
	}
	return b.String()
}

// Key returns the id folded to lower case: equal keys, same resource.
func (id ID) Key() string { return strings.ToLower(id.String()) }

// Equal reports whether both name the same resource.
func (id ID) Equal(other ID) bool { return id.Key() == other.Key() }

// IsZero reports whether the id names nothing.
func (id ID) IsZero() bool { return id.Subscription == "" }

// Name returns the last name, or the group's or the subscription's.
func (id ID) Name() string {
	switch {
	case len(id.Names) > 0:
		return id.Names[len(id.Names)-1]
	case id.Group != "":
		return id.Group
	}
	return id.Subscription
}

// Type returns the full type, such as
// Microsoft.Compute/virtualMachineScaleSets/virtualMachines.
func (id ID) Type() string {
	switch {
	case id.Provider != "":
		return id.Provider + "/" + strings.Join(id.Types, "/")
	case id.Group != "":
		return "Microsoft.Resources/resourceGroups"
	}
	return "Microsoft.Resources/subscriptions"
}

// Child returns the id of a child resource.
func (id ID) Child(typ, name string) ID {
	c := id
	c.Types = append(append([]string{}, id.Types...), typ)
	c.Names = append(append([]string{}, id.Names...), name)
	return c
}

// Parent returns the id one level up: of a child its parent, of a top-level
// resource its group, of a group its subscription.
func (id ID) Parent() ID {
	p := id
	switch n := len(id.Names); {
	case n > 1:
		p.Types, p.Names = id.Types[:n-1], id.Names[:n-1]
	case id.Provider != "":
		p.Provider, p.Types, p.Names = "", nil, nil
	default:
		p.Group = ""
	}
	return p
}

// GroupID returns the id of a resource group.
func GroupID(subscription, group string) ID { return ID{Subscription: subscription, Group: group} }

// In returns the id of a top-level resource in a group.
func In(subscription, group, provider, typ, name string) ID {
	return ID{Subscription: subscription, Group: group, Provider: provider, Types: []string{typ}, Names: []string{name}}
}

// MarshalText writes the id; the zero ID is empty.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id = ID{}
	if len(text) > 0 {
		*id, err = ParseID(string(text))
	}
	return err
}
