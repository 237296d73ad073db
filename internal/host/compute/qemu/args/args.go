// Package args writes the command line of a QEMU process. It is a pure
// function of a [Config]: nothing is looked up, opened or probed, and the same
// configuration gives the same words in the same order, so that what a virtual
// machine is made of can be read in a golden file.
package args

import (
	"fmt"
	"strconv"
	"strings"
)

// Config is everything that shapes a QEMU process. Paths may be relative to
// the directory that the process runs in.
type Config struct {
	Name     string   // for people who list processes
	Tags     []string // "key=value", for the same people; the guest sees them as SMBIOS OEM strings
	UUID     string   // of the system; empty for none
	Accel    string   // "kvm", or "tcg" with its properties
	VCPUs    int
	MemoryMB int
	Kernel   *Kernel // nil boots from the first disk
	Disks    []Disk  // the first is the OS disk
	Cards    []Card
	QMP      string // path of the control socket
	Agent    string // path of the guest agent's socket
	Serial   string // path of the file that the serial console is appended to
	Console  string // path of the socket to type into the serial console
	PIDFile  string
}

// Kernel is what a directly booted image runs.
type Kernel struct {
	Image, Initrd string // paths; Initrd may be empty
	CommandLine   string
}

// Disk is a block device on the virtio bus.
type Disk struct {
	ID       string // unique in the machine; letters, digits and '-'
	Path     string
	Format   string // "qcow2" or "raw"
	Serial   string // what the guest finds it by
	ReadOnly bool
	Volatile bool // what is written need not outlive the host
}

// Card is a network card on the virtio bus.
type Card struct {
	MAC string
	FD  int // of its tap device in the new process; 0 leaves the card unplugged
}

// Build returns the arguments that follow the program's name.
func Build(c Config) []string {
	a := []string{
		"-name", "guest=" + quote(c.Name) + ",debug-threads=on",
		"-nodefaults", "-no-user-config", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "pc,usb=off,vmport=off",
		"-accel", c.Accel, "-cpu", cpu(c.Accel),
		"-m", strconv.Itoa(c.MemoryMB), "-smp", strconv.Itoa(c.VCPUs),
		"-pidfile", c.PIDFile,
		"-qmp", "unix:" + quote(c.QMP) + ",server=on,wait=off",
		"-chardev", "socket,id=serial0,server=on,wait=off,path=" + quote(c.Console) + ",logfile=" + quote(c.Serial) + ",logappend=on",
		"-serial", "chardev:serial0",
	}
	if c.UUID != "" {
		a = append(a, "-uuid", c.UUID)
	}
	for _, tag := range c.Tags {
		a = append(a, "-smbios", "type=11,value="+quote(tag))
	}
	if k := c.Kernel; k != nil {
		a = append(a, "-kernel", k.Image, "-append", k.CommandLine)
		if k.Initrd != "" {
			a = append(a, "-initrd", k.Initrd)
		}
	}
	for i, card := range c.Cards { // first, so that disks do not move their PCI slots
		a = append(a, netCard(i, card)...)
	}
	a = append(a,
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=agent0,server=on,wait=off,path="+quote(c.Agent),
		"-device", "virtserialport,id=agent,chardev=agent0,name=org.qemu.guest_agent.0",
		"-device", "virtio-rng-pci",
	)
	for i, d := range c.Disks {
		a = append(a, disk(i, d)...)
	}
	return a
}

// cpu picks the CPU model: with KVM the host's own, else the plainest one that
// has what today's distributions ask for (x86-64-v2), as emulating more costs
// time.
func cpu(accel string) string {
	if name, _, _ := strings.Cut(accel, ","); name == "kvm" {
		return "host"
	}
	return "Nehalem"
}

func netCard(i int, c Card) []string {
	backend := fmt.Sprintf("tap,id=net%d,fd=%d,vhost=off", i, c.FD)
	if c.FD == 0 {
		backend = fmt.Sprintf("hubport,id=net%d,hubid=%d", i, i)
	}
	return []string{
		"-netdev", backend,
		"-device", fmt.Sprintf("virtio-net-pci,netdev=net%d,mac=%s,romfile=", i, c.MAC),
	}
}

// Device returns the id of a disk's device.
func (d Disk) Device() string { return "disk-" + d.ID }

// Node is what blockdev-add takes to open the disk in a process that runs, just as
// the command line does.
func (d Disk) Node() map[string]any {
	node := map[string]any{"driver": d.Format, "node-name": d.ID, "file": map[string]any{"driver": "file", "filename": d.Path}}
	if d.ReadOnly {
		node["read-only"] = true
	} else {
		node["discard"], node["detect-zeroes"] = "unmap", "unmap"
	}
	if d.Volatile {
		node["cache"] = map[string]any{"no-flush": true}
	}
	return node
}

// Plug is what device_add takes to give the guest a disk that is open.
func (d Disk) Plug() map[string]any {
	return map[string]any{"driver": "virtio-blk-pci", "id": d.Device(), "drive": d.ID, "serial": d.Serial}
}

// Room returns how many data disks fit beside so many network cards: the PCI bus
// has 32 slots, of which the chipset takes two, and one each the serial ports, the
// source of random numbers, the OS disk and the seed.
func Room(cards int) int { return 32 - 2 - 4 - cards }

func disk(i int, d Disk) []string {
	block := fmt.Sprintf("driver=%s,node-name=%s,file.driver=file,file.filename=%s", d.Format, d.ID, quote(d.Path))
	device := fmt.Sprintf("virtio-blk-pci,id=%s,drive=%s,serial=%s", d.Device(), d.ID, d.Serial)
	if d.ReadOnly {
		block += ",read-only=on"
	} else {
		block += ",discard=unmap,detect-zeroes=unmap"
	}
	if d.Volatile {
		block += ",cache.no-flush=on"
	}
	if i == 0 {
		device += ",bootindex=1"
	}
	return []string{"-blockdev", block, "-device", device}
}

// quote keeps a value together in QEMU's option syntax, where a comma ends it.
func quote(s string) string { return strings.ReplaceAll(s, ",", ",,") }
