package host

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/host/guest"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// vmid names the machine that the row asks for.
func vmid(uid vmss.UID, row vmss.Instance) compute.VMID {
	return compute.VMID{Set: string(uid), Instance: int64(row.ID), Disks: row.Disks}
}

// spec says what machine the row and its model ask for. It is pure: the same
// row and model give the same spec, on every host and at every time.
func (h *Host) spec(set vmss.ScaleSet, row vmss.Instance, rev vmss.Revision) (compute.Spec, error) {
	size, ok := h.Size(rev.Model.Size)
	if !ok {
		return compute.Spec{}, resource.Errorf(resource.Invalid, "InvalidParameter", "The VM size %q is not known to host %s.", rev.Model.Size, h.Name)
	}
	id := vmid(set.UID, row)
	m := rev.Model
	s := compute.Spec{ID: id, Name: vmss.InstanceName(set.ID.Name(), row.ID), VCPUs: size.VCPUs, MemoryMB: size.MemoryMB,
		Image: m.Image.Digest, OSDiskGB: m.OSDisk.SizeGB, Boots: row.Boots, Ephemeral: m.OSDisk.Ephemeral}
	if !m.OSDisk.Ephemeral { // that is storage of the host's own, which has no type
		s.OSLimit = h.limit(m.OSDisk, cmp.Or(m.OSDisk.SizeGB, m.Image.SizeGB))
	}
	if s.DataDisks = h.dataDisks(m, row); len(s.DataDisks) < len(m.DataDisks)+len(row.Attached) {
		return s, resource.Errorf(resource.Invalid, "InvalidParameter", "A data disk that is attached to instance %s alone has the LUN of one in its model. Detach it, and attach it at another LUN.", row.ID)
	}
	for i := range max(1, len(m.NICs)) {
		c := compute.NIC{MAC: vmss.MAC(set.UID, row.ID, i), Port: vmss.PortName(set.UID, row.ID, i)}
		if i < len(m.NICs) {
			c.Network = placeOf(m.NICs[i])
		}
		s.NICs = append(s.NICs, c)
	}
	s.Guest = compute.Guest{InstanceID: id.String(), HostName: vmss.ComputerName(m.OS.ComputerNamePrefix, row.ID),
		AdminUser: m.OS.AdminUsername, CustomData: m.OS.Secrets.CustomData}
	for _, k := range m.OS.SSHKeys {
		s.Guest.SSHKeys = append(s.Guest.SSHKeys, k.Data)
	}
	if m.OS.PasswordLogin {
		s.Guest.PasswordHash = h.passwordHash(vmss.RevisionKey{Set: set.UID, Number: rev.Number}, m.OS.Secrets.AdminPassword)
	}
	s.Tags = map[string]string{"resource": set.ID.Child("virtualMachines", row.ID.String()).String(), "host": h.Name}
	return s, nil
}

// dataDisks lists the data disks of model and row by LUN, one for each.
func (h *Host) dataDisks(m vmss.Model, row vmss.Instance) (all []compute.Disk) {
	for _, d := range slices.Concat(m.DataDisks, row.Attached) {
		c := compute.Disk{LUN: d.LUN, SizeGB: d.SizeGB, Generation: row.DiskGeneration(d), Limit: h.limit(d, d.SizeGB)}
		if d.Volume != "" { // its content has a size, and is the same whenever it is attached
			c.Volume, c.SizeGB, c.Generation = d.Volume, 0, 0
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b compute.Disk) int { return cmp.Compare(a.LUN, b.LUN) })
	return slices.CompactFunc(all, func(a, b compute.Disk) bool { return a.LUN == b.LUN })
}

// limit returns what a disk of this size may do: what was asked for, or else what
// its type allows.
func (h *Host) limit(d vmss.Disk, sizeGB int) compute.Limit {
	if h.NoLimit {
		return compute.Limit{}
	}
	usual, burst := disk.LimitOf(d.StorageType, sizeGB), disk.BurstOf(d.StorageType, sizeGB)
	l := compute.Limit{IOPS: cmp.Or(d.IOPS, usual.IOPS), MBps: cmp.Or(d.MBps, usual.MBps)}
	if burst.IOPS > l.IOPS {
		l.BurstIOPS = burst.IOPS
	}
	if burst.MBps > l.MBps {
		l.BurstMBps = burst.MBps
	}
	return l
}

// passwordHash returns the crypt(3) form of a model's password. The salt
// follows from the revision, so that the spec stays the same; the result is
// kept, for the hash is costly by design.
func (h *Host) passwordHash(key vmss.RevisionKey, password string) string {
	if password == "" {
		return ""
	}
	if known, ok := h.hashes.Load(key); ok {
		return known.(string)
	}
	salt := sha256.Sum256(fmt.Appendf(nil, "%s/%d", key.Set, key.Number))
	hash := guest.CryptSHA512(password, hex.EncodeToString(salt[:8]))
	h.hashes.Store(key, hash)
	return hash
}

// placeOf writes down where in virtual networks a card is: its name, then each
// address's name and subnet, the primary one first.
func placeOf(n vmss.NIC) string {
	at := make([]string, 0, len(n.IPConfigs))
	for i, c := range n.IPConfigs {
		if c.Subnet == "" {
			continue
		}
		one := c.Name + "=" + strings.ToLower(c.Subnet)
		if i == primaryConfig(n) {
			at = slices.Insert(at, 0, one)
			continue
		}
		at = append(at, one)
	}
	if len(at) == 0 {
		return ""
	}
	return n.Name + " " + strings.Join(at, " ")
}

// portOwner finds the instance of a port name.
func portOwner(name string) (vmss.InstanceKey, bool) {
	rest, _, ok := cutLast(name, "-")
	if !ok {
		return vmss.InstanceKey{}, false
	}
	uid, id, ok := cutLast(rest, "-")
	n, err := strconv.ParseInt(id, 10, 64)
	return vmss.InstanceKey{Set: vmss.UID(uid), ID: vmss.InstanceID(n)}, ok && err == nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// ports lists the fabric ports of a spec.
func ports(s compute.Spec) []fabric.Port {
	out := make([]fabric.Port, len(s.NICs))
	for i, n := range s.NICs {
		out[i] = fabric.Port{Name: n.Port, MAC: n.MAC, HostName: s.Guest.HostName}
	}
	return out
}
