package compute

import (
	"time"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/vmss"
)

// SetView is what a scale set's answer shows beside its document.
type SetView struct {
	Provisioning vmss.ProvisioningState
	ETag         string // without quotes; empty leaves the member out
	UserData     bool   // $expand=userData
	Version      string // the request's api-version: what is younger is left out; empty for the newest
}

// timeFormat is how Azure writes times: up to seven digits, no zeros at the end.
const timeFormat = "2006-01-02T15:04:05.9999999-07:00"

func stamp(t time.Time) string { return t.UTC().Format(timeFormat) }

// RenderScaleSet writes a scale set as Azure answers it. It fails only if what
// is stored is no JSON.
func RenderScaleSet(set vmss.ScaleSet, model vmss.Model, view SetView) ([]byte, error) {
	doc, err := storedDocument(set.Document)
	if err != nil {
		return nil, err
	}
	vm, err := renderProfile(model)
	if err != nil {
		return nil, err
	}
	if view.UserData && len(model.OS.Secrets.UserData) > 0 {
		vm["userData"] = encodeBlob(model.OS.Secrets.UserData)
	}
	doc["name"], doc["id"], doc["type"] = set.ID.Name(), set.ID.String(), vmss.ResourceType
	doc["location"] = set.Location
	wire.Set(doc, int64(set.SKU.Capacity), "sku", "capacity")
	if view.ETag != "" {
		doc["etag"] = `"` + view.ETag + `"`
	}
	props := sub(doc, "properties")
	props["virtualMachineProfile"] = vm
	props["provisioningState"] = string(view.Provisioning)
	props["uniqueId"] = string(set.UID)
	props["timeCreated"] = stamp(set.Created)
	hideYounger(doc, view.Version)
	return ScaleSet.Encode(doc), nil
}

func storedDocument(raw []byte) (wire.Document, error) {
	if len(raw) == 0 {
		return wire.Document{}, nil
	}
	v, err := wire.ParseJSON(raw)
	if err != nil {
		return nil, err
	}
	doc, _ := v.(map[string]any)
	return doc, nil
}

// renderProfile is a model's virtualMachineProfile with what follows from its
// image.
func renderProfile(model vmss.Model) (wire.Document, error) {
	vm, err := storedDocument(model.Document)
	if err != nil {
		return nil, err
	}
	disk := sub(sub(vm, "storageProfile"), "osDisk")
	fill(disk, "osType", model.Image.OSType)
	if size := osDiskSize(model); size > 0 {
		disk["diskSizeGB"] = int64(size)
	}
	if w := wire.ObjectAt(vm, "osProfile", "windowsConfiguration"); w != nil {
		w["enableVMAgentPlatformUpdates"] = false
	}
	return vm, nil
}

// osDiskSize is the size of the model's OS disk in GB.
func osDiskSize(model vmss.Model) int {
	if model.OSDisk.SizeGB > 0 {
		return model.OSDisk.SizeGB
	}
	return model.Image.SizeGB
}

// RenderSizes writes the sizes that a set may have, as the answer of
// {set}/skus; limit is the largest capacity.
func RenderSizes(sizes []string, limit int) []byte {
	b := []byte(`{"value":[`)
	for i, size := range sizes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"resourceType":"`+vmss.ResourceType+`","sku":{"name":`...)
		b = wire.AppendString(b, size)
		b = appendText(b, `,"tier":`, tierOf(size))
		b = append(b, `},"capacity":{"minimum":0,"maximum":`...)
		b = appendInt(b, limit)
		b = append(b, `,"defaultCapacity":1,"scaleType":"Automatic"}}`...)
	}
	return append(b, `]}`...)
}
