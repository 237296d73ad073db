package compute

import (
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/arm/wire/compute/nic"
)

// since lists the members of a scale set that are written without being asked
// for, and the api-version that brought each: an older one does not show them,
// and clients that are as old may not accept them.
//
// Source: the models that the Azure SDK for Python has for each api-version up to
// 2022-11-01, and the change log of that for Go after it; osType, which every
// version defines, is from recorded answers.
var since = []struct{ version, path string }{
	{"2019-12-01", storagePath + ".osDisk.diffDiskSettings.placement"},
	{"2020-12-01", "properties.orchestrationMode"},
	{"2020-12-01", storagePath + ".osDisk.osType"},
	{"2021-11-01", "properties.timeCreated"},
	{"2022-08-01", profilePath + ".osProfile.linuxConfiguration.enableVMAgentPlatformUpdates"},
	{"2022-08-01", profilePath + ".osProfile.windowsConfiguration.enableVMAgentPlatformUpdates"},
	{"2022-08-01", nic.Path + "[].properties.disableTcpStateTracking"},
	{"2022-11-01", "properties.upgradePolicy.rollingUpgradePolicy.maxSurge"},
	{"2022-11-01", "properties.upgradePolicy.rollingUpgradePolicy.rollbackFailedInstancesOnPolicyBreach"},
	{"2023-09-01", "etag"},
}

// hideYounger removes what is younger than the api-version; an empty one is the
// newest. Versions compare as text: they are dates.
func hideYounger(doc wire.Document, version string) {
	for _, m := range since {
		if version != "" && version < m.version {
			hide(doc, m.path)
		}
	}
}

// hide removes the member at a path, in every element where the path has "[]".
func hide(doc wire.Document, path string) {
	list, rest, found := strings.Cut(path, "[].")
	names := strings.Split(list, ".")
	if !found {
		wire.Remove(doc, names...)
		return
	}
	for _, element := range wire.ObjectsAt(doc, names...) {
		hide(element, rest)
	}
}
