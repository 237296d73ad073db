package compute

import (
	"strings"

	"github.com/muster-vm/muster/internal/arm/wire"
	disks "github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/vmss"
)

// fillDefaults adds what Azure stores for members that a request leaves out, as
// its recorded answers show. What follows from the image (osType, diskSizeGB)
// is added when a document is rendered.
func fillDefaults(doc wire.Document, set string, windows bool) {
	fill(sub(doc, "sku"), "tier", tierOf(wire.TextAt(doc, "sku", "name")))
	if kind := wire.TextAt(doc, "identity", "type"); kind == "" || kind == "None" {
		delete(doc, "identity") // a set without one does not show that
	}
	p := sub(doc, "properties")
	fill(p, "orchestrationMode", "Uniform")
	fill(p, "overprovision", true)
	fill(p, "doNotRunExtensionsOnOverprovisionedVMs", false)
	if len(wire.TextsAt(doc, "zones")) > 0 {
		fill(p, "platformFaultDomainCount", int64(1))
	}
	capacity, _ := wire.NumberAt(doc, "sku", "capacity")
	fill(p, "singlePlacementGroup", len(wire.TextsAt(doc, "zones")) == 0 && capacity <= MaxSinglePlacementGroup)
	if rolling := wire.ObjectAt(p, "upgradePolicy", "rollingUpgradePolicy"); rolling != nil {
		fillRolling(rolling)
	}
	vm := wire.ObjectAt(p, "virtualMachineProfile")
	if vm == nil {
		return
	}
	fillOS(sub(vm, "osProfile"), set, windows)
	fillStorage(sub(vm, "storageProfile"), storageOf(wire.TextAt(doc, "sku", "name")))
	dropDisabledNotices(wire.ObjectAt(vm, "scheduledEventsProfile"))
	for _, nic := range wire.ObjectsAt(vm, "networkProfile", "networkInterfaceConfigurations") {
		fillNIC(nic, len(wire.ObjectsAt(vm, "networkProfile", "networkInterfaceConfigurations")) == 1)
	}
}

// keepUnchangeable gives members that can never change the value they have where
// a request leaves them out or sets them to null, as templates do: their default
// may be another one, and no client means to change them.
func keepUnchangeable(doc wire.Document, current *Current) {
	p := sub(doc, "properties")
	fill(p, "singlePlacementGroup", current.Set.SinglePlacementGroup)
	if n := current.Set.FaultDomains; n != regionalFaultDomains || len(wire.TextsAt(doc, "zones")) > 0 {
		fill(p, "platformFaultDomainCount", int64(n))
	}
	vm := wire.ObjectAt(p, "virtualMachineProfile")
	if vm == nil {
		return // reported as missing
	}
	fill(sub(vm, "osProfile"), "computerNamePrefix", current.Model.OS.ComputerNamePrefix)
	fill(sub(sub(sub(vm, "storageProfile"), "osDisk"), "managedDisk"), "storageAccountType", current.Model.OSDisk.StorageType)
}

func fillRolling(rolling wire.Document) {
	fill(rolling, "maxBatchInstancePercent", int64(20))
	fill(rolling, "maxUnhealthyInstancePercent", int64(20))
	fill(rolling, "maxUnhealthyUpgradedInstancePercent", int64(20))
	fill(rolling, "pauseTimeBetweenBatches", "PT0S")
	fill(rolling, "maxSurge", false)
	fill(rolling, "rollbackFailedInstancesOnPolicyBreach", false)
}

func fillOS(os wire.Document, set string, windows bool) {
	fill(os, "computerNamePrefix", vmss.DefaultComputerNamePrefix(set))
	fill(os, "secrets", []any{})
	fill(os, "allowExtensionOperations", true)
	fill(os, "requireGuestProvisionSignal", true)
	if windows {
		w := sub(os, "windowsConfiguration")
		fill(w, "provisionVMAgent", true)
		fill(w, "enableAutomaticUpdates", true)
		return
	}
	linux := sub(os, "linuxConfiguration")
	fill(linux, "disablePasswordAuthentication", false)
	fill(linux, "provisionVMAgent", true)
	fill(linux, "enableVMAgentPlatformUpdates", false)
	for _, key := range wire.ObjectsAt(linux, "ssh", "publicKeys") {
		fill(key, "path", authorizedKeys(wire.TextAt(os, "adminUsername")))
	}
}

func fillStorage(storage wire.Document, kind string) {
	disk := sub(storage, "osDisk")
	fill(disk, "createOption", "FromImage")
	fill(disk, "caching", "None")
	if ephemeral := wire.ObjectAt(disk, "diffDiskSettings"); ephemeral != nil {
		fill(ephemeral, "placement", "CacheDisk")
		fill(sub(disk, "managedDisk"), "storageAccountType", standardStorage) // whatever the size
	}
	fill(sub(disk, "managedDisk"), "storageAccountType", kind)
	for _, data := range wire.ObjectsAt(storage, "dataDisks") {
		fill(data, "caching", "None")
		fill(sub(data, "managedDisk"), "storageAccountType", kind)
		fillLimits(data)
	}
}

// fillLimits adds what a data disk may do where its type lets that be chosen and
// the request leaves both to the server.
func fillLimits(data wire.Document) {
	sku := wire.TextAt(data, "managedDisk", "storageAccountType")
	size, sized := wire.NumberAt(data, sizeMember)
	if !sized || !disks.SettableLimits(sku) || data["diskIOPSReadWrite"] != nil || data["diskMBpsReadWrite"] != nil {
		return
	}
	limit := disks.LimitOf(sku, size)
	data["diskIOPSReadWrite"], data["diskMBpsReadWrite"] = int64(limit.IOPS), int64(limit.MBps)
}

// dropDisabledNotices removes the notices that a request turns off: a set without
// them does not show them.
func dropDisabledNotices(events wire.Document) {
	for _, notice := range []string{"osImageNotificationProfile", "terminateNotificationProfile"} {
		if enabled, given := wire.Get(events, notice, "enable").(bool); given && !enabled {
			delete(events, notice)
		}
	}
}

// storageOf is the storage type of disks of a VM size where none is asked for.
func storageOf(size string) string {
	if s, known := vmss.SizeNamed(size); known && !s.PremiumStorage() {
		return standardStorage
	}
	return "Premium_LRS"
}

const standardStorage = "Standard_LRS"

// tierOf is the tier that Azure shows for a VM size.
func tierOf(size string) string {
	if tier, _, _ := strings.Cut(size, "_"); strings.EqualFold(tier, "Basic") {
		return "Basic"
	}
	return "Standard"
}

func fillNIC(nic wire.Document, only bool) {
	p := sub(nic, "properties")
	if only {
		fill(p, "primary", true)
	}
	fill(p, "disableTcpStateTracking", false)
	fill(sub(p, "dnsSettings"), "dnsServers", []any{})
	fill(p, "enableIPForwarding", false)
	for _, ip := range wire.ObjectsAt(p, "ipConfigurations") {
		q := sub(ip, "properties")
		fill(q, "privateIPAddressVersion", "IPv4")
		if public := wire.ObjectAt(q, "publicIPAddressConfiguration"); public != nil {
			fill(sub(public, "properties"), "publicIPAddressVersion", "IPv4")
			fill(sub(public, "properties"), "ipTags", []any{})
		}
	}
}

func authorizedKeys(user string) string { return "/home/" + user + "/.ssh/authorized_keys" }
