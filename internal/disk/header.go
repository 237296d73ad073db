package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The formats of files with a disk in them.
const (
	FormatQcow2 = "qcow2"
	FormatRaw   = "raw"
	FormatVHD   = "vhd"
)

// Header is what a file says about the disk in it.
type Header struct {
	Format string
	Bytes  int64 // that a guest sees
}

const (
	qcow2Magic = "QFI\xfb"
	vhdCookie  = "conectix"
	vhdFooter  = 512
	sector     = 512

	// mostBytes is far beyond any disk, and safe to add to.
	mostBytes = 1 << 50
)

const merge = "make one disk of them with `qemu-img convert`"

// ReadHeader finds out what disk is in a file of a size. A fault completes the
// sentence "the file ...": the file is none that a disk can be made of, it refers
// to other files, or its tables point beyond its end. What a guest wrote may look
// like any header: nothing in it is trusted, and want, if it is not empty, is the
// format that the file must have. The error is of reading alone.
func ReadHeader(file io.ReaderAt, size int64, want string) (h Header, fault string, err error) {
	head, err := readUpTo(file, 0, sector, size)
	if err != nil {
		return h, "", err
	}
	tail, err := readUpTo(file, size-vhdFooter, vhdFooter, size)
	if err != nil {
		return h, "", err
	}
	switch {
	case size == 0:
		return h, "is empty", nil
	case hasPrefix(head, qcow2Magic):
		h, fault = qcow2(head, size)
	case hasPrefix(tail, vhdCookie):
		h, fault, err = vhd(file, tail, size)
	case hasPrefix(head, vhdCookie):
		return h, "is a VHD without the footer at its end: it was cut short", nil
	default:
		h, fault = raw(head, size, want)
	}
	if fault == "" && err == nil && want != "" && want != h.Format {
		fault = fmt.Sprintf("is a %s disk and not a %s one, as its format says", h.Format, want)
	}
	return h, fault, err
}

func readUpTo(file io.ReaderAt, at, n, size int64) ([]byte, error) {
	at = max(at, 0)
	b := make([]byte, max(min(n, size-at), 0))
	if _, err := file.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

func hasPrefix(b []byte, magic string) bool {
	return len(b) >= len(magic) && string(b[:len(magic)]) == magic
}

// foreign are formats that no disk is made of here, by how their files begin.
var foreign = []struct{ magic, name string }{
	{"KDMV", "a VMDK disk"}, {"COWD", "a VMDK disk"}, {"# Disk DescriptorFile", "the descriptor of a VMDK disk"},
	{"vhdxfile", "a VHDX disk"}, {"QED\x00", "a QED disk"}, {"WithoutFreeSpace", "a Parallels disk"}, {"WithouFreSpacExt", "a Parallels disk"},
	{"<<< ", "a VDI disk"}, {"\x1f\x8b", "compressed with gzip"}, {"\xfd7zXZ\x00", "compressed with xz"}, {"BZh", "compressed with bzip2"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd"}, {"PK\x03\x04", "a ZIP archive"}, {"<!DOCTYPE", "a web page"}, {"<html", "a web page"},
}

// raw takes whatever else there is for a raw disk, if that is plausible.
func raw(head []byte, size int64, want string) (Header, string) {
	for _, f := range foreign {
		if hasPrefix(head, f.magic) {
			return Header{}, "is " + f.name + "; make a qcow2, raw or VHD disk of it first (`qemu-img convert -O qcow2`)"
		}
	}
	switch {
	case want != "" && want != FormatRaw:
		return Header{}, fmt.Sprintf("is not a %s disk, as its format says, or it was cut short", want)
	case size%sector != 0:
		return Header{}, fmt.Sprintf("has %d bytes, no multiple of %d: it was cut short, or is no disk", size, sector)
	case size > mostBytes:
		return Header{}, "has a size that no disk has"
	}
	return Header{Format: FormatRaw, Bytes: size}, ""
}

// The incompatible features of qcow2: those that are known change nothing about
// how it is read here (dirty reference counts, a compression method, extended L2
// entries), or are refused by name.
const (
	qcow2Corrupt  = 1 << 1
	qcow2External = 1 << 2
	qcow2Known    = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4
)

// qcow2 reads a header as docs/interop/qcow2.txt of QEMU describes it.
func qcow2(head []byte, size int64) (h Header, fault string) {
	const short = "is a qcow2 disk whose tables lie beyond its end: it was cut short"
	if len(head) < 104 {
		return h, short
	}
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	version, features := u32(head[4:]), uint64(0)
	if version == 3 {
		features = u64(head[72:])
	}
	clusterBits := u32(head[20:])
	bytes := u64(head[24:])
	switch {
	case version != 2 && version != 3:
		return h, fmt.Sprintf("is a qcow2 disk of the unknown version %d", version)
	case u64(head[8:]) != 0:
		return h, "is an overlay of another disk; " + merge
	case features&qcow2External != 0:
		return h, "keeps its data in another file; " + merge
	case u32(head[32:]) != 0:
		return h, "is encrypted; decrypt it first"
	case features&qcow2Corrupt != 0:
		return h, "is marked as corrupt by the program that wrote it; mend it with `qemu-img check -r all`"
	case features&^uint64(qcow2Known) != 0:
		return h, fmt.Sprintf("is a qcow2 disk with features that are not known here (%#x)", features&^uint64(qcow2Known))
	case clusterBits < 9 || clusterBits > 21:
		return h, fmt.Sprintf("is a qcow2 disk with clusters of an impossible size (2^%d)", clusterBits)
	case bytes > mostBytes:
		return h, "claims a size that no disk has"
	case bytes == 0:
		return h, "is a qcow2 disk without content"
	}
	l1, refcounts := u64(head[40:]), u64(head[48:])
	l1End := l1 + 8*uint64(u32(head[36:]))
	refcountsEnd := refcounts + uint64(u32(head[56:]))<<clusterBits
	if l1 > mostBytes || refcounts > mostBytes || l1End > uint64(size) || refcountsEnd > uint64(size) {
		return h, short
	}
	return Header{Format: FormatQcow2, Bytes: int64(bytes)}, ""
}
