package compute

import (
	"fmt"
	"slices"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/vmss"
)

// Required says whether an action must name its instances.
type Required bool

// Whether an action must name its instances.
const (
	MustName Required = true  // manualupgrade and delete; "*" names all
	MayName  Required = false // the others; naming none means all
)

// ParseInstanceIDs reads the body of an action on instances: {"instanceIds":
// ["0", "3"]}, or ["*"]. It returns nil for all of them, and otherwise the ids
// in order, each once. It fails with Invalid, all problems together.
func ParseInstanceIDs(body []byte, required Required) ([]vmss.InstanceID, error) {
	doc, err := InstanceIDs.Decode(body)
	if err != nil {
		return nil, err
	}
	return instanceIDs(doc, required)
}

// ParseReimage reads the body of reimage and reimageall on a set or, where it
// names no instances, on an instance. It returns what ParseInstanceIDs returns.
func ParseReimage(body []byte) ([]vmss.InstanceID, error) {
	doc, err := Reimage.Decode(body)
	if err != nil {
		return nil, err
	}
	return instanceIDs(doc, MayName)
}

func instanceIDs(doc wire.Document, required Required) ([]vmss.InstanceID, error) {
	const path = "instanceIds"
	names := wire.TextsAt(doc, path)
	var p wire.Problems
	if len(names) == 0 && required == MustName {
		p.Add(wire.InvalidParameter, path, `The required member 'instanceIds' is missing: list the instances, or "*" for all of them.`)
	}
	if len(names) == 0 || slices.Equal(names, []string{"*"}) {
		return nil, p.Err()
	}
	ids := make([]vmss.InstanceID, 0, len(names))
	for i, name := range names {
		id, err := vmss.ParseInstanceID(name)
		if err != nil {
			p.Add(wire.InvalidParameter, fmt.Sprintf("%s[%d]", path, i), `'%.64s' is not an instance id; ids are whole numbers from 0, and "*" stands alone.`, name)
			continue
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), p.Err()
}
