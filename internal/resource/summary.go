package resource

import "time"

// Summary is a resource of any type as lists of resources show it.
type Summary struct {
	ID       ID
	Location string
	Tags     map[string]string
	Zones    []string
	SKU      SKU // zero if the type has none
	Created  time.Time
	State    string // its provisioning state
}

// SKU is the size of a resource, and how many of it.
type SKU struct {
	Name, Tier string
	Capacity   int
}
