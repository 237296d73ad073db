package network

import (
	"strings"

	noun "github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// CheckGroup fails with Conflict, code ResourceGroupDeletionBlocked, if something of
// another resource group uses what is in this one: deleting the group could not come
// to its end.
func (a *API) CheckGroup(subscription, group string) error {
	in := noun.NewKey("", subscription, group, "")
	for _, e := range store.All(a.Store, store.Networks) {
		if k := e.Value.Key(); k.Subscription != in.Subscription || k.Group != in.Group {
			continue
		}
		for _, by := range a.users(part{Key: e.Value.Key()}) {
			if id, err := resource.ParseID(by); err == nil && !strings.EqualFold(id.Group, group) {
				return resource.Errorf(resource.Conflict, "ResourceGroupDeletionBlocked",
					"Deletion of resource group '%s' is blocked: '%s' is in use by '%s', which is in another group. Delete that first, or take the reference out of it.", group, e.Value.ID, by)
			}
		}
	}
	return nil
}
