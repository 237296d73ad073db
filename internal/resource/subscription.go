package resource

// Subscription is a billing and access scope. Muster makes one at first start.
type Subscription struct {
	ID       string // GUID
	TenantID string // GUID
	Name     string
	Tags     map[string]string
}
