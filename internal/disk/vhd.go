package disk

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The types of VHD.
const (
	vhdFixed   = 2
	vhdDynamic = 3
	vhdDiff    = 4
)

// vhd reads a footer as Microsoft's Virtual Hard Disk Image Format Specification
// describes it.
func vhd(file io.ReaderAt, footer []byte, size int64) (h Header, fault string, err error) {
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	bytes := u64(footer[48:])
	switch kind := u32(footer[60:]); {
	case u32(footer[64:]) != vhdChecksum(footer, 64):
		return h, "is a VHD whose footer is damaged: its checksum is wrong", nil
	case kind == vhdDiff:
		return h, "is a differencing VHD, which needs another disk; make one disk of them first", nil
	case kind != vhdFixed && kind != vhdDynamic:
		return h, fmt.Sprintf("is a VHD of the unknown type %d", kind), nil
	case bytes == 0 || bytes > mostBytes || bytes%sector != 0:
		return h, "is a VHD that claims a size that no disk has", nil
	case kind == vhdFixed && bytes > uint64(size-vhdFooter):
		return h, fmt.Sprintf("is a fixed VHD of %d bytes with %d bytes in it: a part is missing", bytes, size-vhdFooter), nil
	case kind == vhdDynamic:
		fault, err = vhdBlocks(file, u64(footer[16:]), bytes, size)
	}
	return Header{Format: FormatVHD, Bytes: int64(bytes)}, fault, err
}

// vhdChecksum is the complement of the sum of all bytes but those of itself.
func vhdChecksum(b []byte, at int) uint32 {
	var sum uint32
	for i, c := range b {
		if i < at || i >= at+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// vhdBlocks looks at the header and the table of a dynamic VHD: every block must
// be in the file.
func vhdBlocks(file io.ReaderAt, at, bytes uint64, size int64) (fault string, err error) {
	const (
		short   = "is a dynamic VHD whose blocks lie beyond its end: it was cut short"
		damaged = "is a dynamic VHD whose header is damaged"
		length  = 1024
	)
	if at > mostBytes || int64(at)+length > size {
		return short, nil
	}
	header, err := readUpTo(file, int64(at), length, size)
	if err != nil {
		return "", err
	}
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	table, entries, block := u64(header[16:]), uint64(u32(header[28:])), uint64(u32(header[32:]))
	switch {
	case !hasPrefix(header, "cxsparse"), u32(header[36:]) != vhdChecksum(header, 36):
		return damaged, nil
	case block < sector || block&(block-1) != 0 || entries*block < bytes:
		return damaged, nil
	case table > mostBytes || table+4*entries > uint64(size):
		return short, nil
	}
	bitmap := (block/sector/8 + sector - 1) / sector * sector
	const page = 64 << 10
	for from := uint64(0); from < 4*entries; from += page {
		part, err := readUpTo(file, int64(table+from), int64(min(page, 4*entries-from)), size)
		if err != nil {
			return "", err
		}
		for i := 0; i+4 <= len(part); i += 4 {
			entry := u32(part[i:])
			if entry != 1<<32-1 && uint64(entry)*sector+bitmap+block > uint64(size) {
				return short, nil
			}
		}
	}
	return "", nil
}
