package vmss

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// Names and GUIDs of what belongs to an instance are functions of the set and
// the instance, so that whoever needs one computes it and nobody stores it.

// maxPrefix is the longest computer name prefix.
const maxPrefix = 15

// InstanceName returns the resource name of an instance, such as web_13.
func InstanceName(set string, id InstanceID) string { return set + "_" + id.String() }

// ComputerName returns the host name of an instance: the prefix and the id in
// base 36, six characters wide and in upper case. Instance 13 of prefix vmss is
// vmss00000D.
//
// Source: https://learn.microsoft.com/azure/virtual-machine-scale-sets/virtual-machine-scale-sets-instance-ids
func ComputerName(prefix string, id InstanceID) string {
	digits := strings.ToUpper(strconv.FormatInt(int64(id), 36))
	return prefix + strings.Repeat("0", max(0, 6-len(digits))) + digits
}

// PortName names an instance's network card in the network of its host; nic is the
// card's place in the model.
func PortName(set UID, id InstanceID, nic int) string { return fmt.Sprintf("%s-%d-%d", set, id, nic) }

// MAC returns the locally administered MAC address of an instance's network card.
func MAC(set UID, id InstanceID, nic int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", set, id, nic))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3], h[4])
}

// DefaultComputerNamePrefix makes a prefix of a scale set's name: its letters,
// digits and hyphens, cut to 15, and "vm" if nothing is left.
func DefaultComputerNamePrefix(set string) string {
	keep := func(r rune) rune {
		if r < 0x80 && (resource.IsAlnum(r) || r == '-') {
			return r
		}
		return -1
	}
	prefix := strings.Trim(strings.Map(keep, set), "-")
	prefix = strings.TrimRight(prefix[:min(len(prefix), maxPrefix)], "-")
	if prefix == "" {
		return "vm"
	}
	return prefix
}

// CheckComputerNamePrefix applies Azure's rule: 1 to 15 letters, digits and
// hyphens, with a letter or digit first. It fails with Invalid, code
// InvalidParameter.
func CheckComputerNamePrefix(prefix string) error {
	ok := len(prefix) >= 1 && len(prefix) <= maxPrefix && prefix[0] != '-'
	for _, r := range prefix {
		ok = ok && (resource.IsAlnum(r) || r == '-')
	}
	if !ok {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The computer name prefix %q is not valid: use 1 to 15 letters, digits and hyphens, and start with a letter or digit.", prefix)
	}
	return nil
}

// CheckName applies Azure's rule for names of scale sets: 1 to 64 characters
// out of letters, digits, underscore, period and hyphen, starting with a letter
// or digit and ending in one or in an underscore. It fails with Invalid, code
// InvalidParameter.
//
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
func CheckName(name string) error {
	ok := len(name) >= 1 && len(name) <= 64
	for i, r := range name {
		alnum, last := resource.IsAlnum(r), i == len(name)-1
		ok = ok && (alnum || r == '_' && i > 0 || (r == '-' || r == '.') && i > 0 && !last)
	}
	if !ok {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "The scale set name %q is not valid: use 1 to 64 letters, digits, underscores, periods and hyphens; start with a letter or digit, and do not end in a period or hyphen.", name).At("vmScaleSetName")
	}
	return nil
}

// OSDiskName returns the name of an instance's OS disk. It changes with every
// reimage, which disks counts.
func OSDiskName(set string, uid UID, id InstanceID, disks int64) string {
	return diskName(set, uid, id, "OsDisk_1", disks)
}

// DataDiskName returns the name of the instance's data disk at a LUN. It
// changes when data disks are made anew, which disks counts.
func DataDiskName(set string, uid UID, id InstanceID, lun int, disks int64) string {
	return diskName(set, uid, id, "disk"+strconv.Itoa(lun+2), disks)
}

func diskName(set string, uid UID, id InstanceID, part string, disks int64) string {
	guid := GUID(uid, id.String(), part, strconv.FormatInt(disks, 10))
	return set + "_" + InstanceName(set, id) + "_" + part + "_" + strings.ReplaceAll(guid, "-", "")
}

// InstanceGUID returns the instance's vmId. It stays for the instance's life.
func InstanceGUID(uid UID, id InstanceID) string { return GUID(uid, "instance", id.String()) }

// placementGroupSize is how many instances share a placement group.
const placementGroupSize = 100

// PlacementGroupID returns the GUID of the placement group that the instance
// is in: the set's only one, or that of the hundred its id is in.
func PlacementGroupID(s ScaleSet, id InstanceID) string {
	group := int64(0)
	if !s.SinglePlacementGroup {
		group = int64(id) / placementGroupSize
	}
	return GUID(s.UID, "placementGroup", strconv.FormatInt(group, 10))
}

// GUID derives a GUID from a set and the words that name a thing of it, as a
// version 5 UUID of them.
//
// Source: https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-5
func GUID(uid UID, words ...string) string {
	var scratch [128]byte // long enough for all but strange names
	name := append(append(scratch[:0], "muster\x00"...), uid...)
	if len(words) == 0 {
		name = append(name, 0)
	}
	for _, word := range words {
		name = append(append(name, 0), word...)
	}
	sum := sha1.Sum(name)
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	guid := [36]byte{8: '-', 13: '-', 18: '-', 23: '-'}
	hex.Encode(guid[:], sum[:4])
	hex.Encode(guid[9:], sum[4:6])
	hex.Encode(guid[14:], sum[6:8])
	hex.Encode(guid[19:], sum[8:10])
	hex.Encode(guid[24:], sum[10:16])
	return string(guid[:])
}
