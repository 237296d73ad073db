package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The formats of disks. A format is never guessed: a guest that writes to its
// raw disk could make it look like another.
const (
	qcow2 = "qcow2"
	raw   = "raw"
)

const (
	gib = 1 << 30

	qcow2Magic        = "QFI\xfb"
	qcow2HeaderBytes  = 104
	qcow2ExternalData = 1 << 2 // of the incompatible features
)

// sizeGB returns the size of a disk as its guest sees it, rounded up, or the
// size that was said if that is not smaller. Disks that refer to other files are
// refused: through those, an image could show its guests any file of the host.
func sizeGB(path, format string, said int) (size int, fault string) {
	f, err := os.Open(path)
	if err != nil {
		return said, faultOf(err)
	}
	defer f.Close()
	header := make([]byte, qcow2HeaderBytes)
	if _, err := f.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) { // a short file leaves zeros
		return said, faultOf(err)
	}
	at, err := f.Stat()
	if err != nil {
		return said, faultOf(err)
	}
	bytes := uint64(at.Size())
	switch isQcow2 := string(header[:4]) == qcow2Magic; {
	case format == raw && isQcow2:
		return said, "is a qcow2 disk and not a raw one, as its format says"
	case format == qcow2 && !isQcow2:
		return said, "is not a qcow2 disk, as its format says"
	case isQcow2:
		if bytes, fault = qcow2Bytes(header); fault != "" {
			return said, fault
		}
	}
	size = int((bytes + gib - 1) / gib)
	if said == 0 {
		return size, ""
	}
	if said < size {
		return said, fmt.Sprintf("needs %d GB, more than its sizeGB of %d", size, said)
	}
	return said, ""
}

// qcow2Bytes reads the size from a qcow2 header. The format is described in
// docs/interop/qcow2.txt of QEMU.
func qcow2Bytes(header []byte) (bytes uint64, fault string) {
	version := binary.BigEndian.Uint32(header[4:])
	if version != 2 && version != 3 {
		return 0, fmt.Sprintf("is a qcow2 disk of the unknown version %d", version)
	}
	if binary.BigEndian.Uint64(header[8:]) != 0 {
		return 0, "is an overlay of another disk; make one disk of them with `qemu-img convert`"
	}
	if version == 3 && binary.BigEndian.Uint64(header[72:])&qcow2ExternalData != 0 {
		return 0, "keeps its data in another file; make one disk of them with `qemu-img convert`"
	}
	const most = 1 << 50 // far beyond any disk, and safe to add to
	if bytes = binary.BigEndian.Uint64(header[24:]); bytes > most {
		return 0, "claims a size that no disk has"
	}
	return bytes, ""
}
