// Package access decides whether a principal may do something at a scope. It
// is pure: roles and assignments come in as values.
package access

import (
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// Principal is who is asking.
type Principal struct {
	ObjectID string // GUID
	ClientID string // GUID of the application
	TenantID string
	Name     string
}

// Role is a named set of permissions.
type Role struct {
	ID   string // GUID of the built-in role definition in Azure
	Name string
	// Actions and NotActions are patterns such as "*", "*/read" or
	// "Microsoft.Compute/virtualMachineScaleSets/*"; a star matches any run of
	// characters. Matching ignores case.
	Actions, NotActions []string
}

// The built-in roles that exist so far.
//
// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var (
	Owner = Role{ID: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", Name: "Owner", Actions: []string{"*"}}

	Contributor = Role{ID: "b24988ac-6180-42a0-ab88-20f7382dd24c", Name: "Contributor", Actions: []string{"*"},
		NotActions: []string{"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action"}}

	Reader = Role{ID: "acdd72a7-3385-48ef-bd42-f606fba81ae7", Name: "Reader", Actions: []string{"*/read"}}
)

// Roles lists the built-in roles.
func Roles() []Role { return []Role{Owner, Contributor, Reader} }

// RoleNamed finds a built-in role by name, ignoring case.
func RoleNamed(name string) (Role, bool) {
	for _, r := range Roles() {
		if strings.EqualFold(r.Name, name) {
			return r, true
		}
	}
	return Role{}, false
}

// Assignment gives a principal a role at a scope and below it.
type Assignment struct {
	ObjectID string
	Role     string // name
	Scope    string // resource id; "/" is everything
}

// Check returns nil if one of the assignments lets the principal perform
// action at scope, and else Forbidden with code AuthorizationFailed, worded as
// Azure does.
func Check(p Principal, assignments []Assignment, action, scope string) error {
	for _, a := range assignments {
		role, ok := RoleNamed(a.Role)
		if ok && a.ObjectID == p.ObjectID && within(scope, a.Scope) && role.Allows(action) {
			return nil
		}
	}
	return resource.Errorf(resource.Forbidden, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		p.ClientID, p.ObjectID, action, scope)
}

// Allows reports whether the role permits the action.
func (r Role) Allows(action string) bool {
	return matchesAny(r.Actions, action) && !matchesAny(r.NotActions, action)
}

func matchesAny(patterns []string, action string) bool {
	for _, p := range patterns {
		if match(strings.ToLower(p), strings.ToLower(action)) {
			return true
		}
	}
	return false
}

// match compares s with a pattern in which each star stands for any run of
// characters.
func match(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	for s = s[len(head):]; ; s = s[1:] {
		if match(rest, s) {
			return true
		}
		if s == "" {
			return false
		}
	}
}

// within reports whether scope is at or below at.
func within(scope, at string) bool {
	scope, at = strings.ToLower(strings.TrimSuffix(scope, "/")), strings.ToLower(strings.TrimSuffix(at, "/"))
	return scope == at || strings.HasPrefix(scope, at+"/")
}
