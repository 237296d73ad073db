package store

import (
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// storedGroup is a resource.Group as it is stored. Names must not change.
type storedGroup struct {
	Subscription string            `json:"subscription"`
	Name         string            `json:"name"`
	Location     string            `json:"location"`
	Tags         map[string]string `json:"tags,omitempty"`
	Created      time.Time         `json:"created"`
	Deleting     bool              `json:"deleting,omitempty"`
	Revision     int64             `json:"-"`
}

var groupCodec = stored(
	func(g resource.Group) storedGroup { return storedGroup(g) },
	func(s storedGroup) resource.Group { return resource.Group(s) })
