package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

const sector = 2048

// smallest is the least size of a volume. What looks for volumes by label reads
// where other file systems have theirs, and busybox gives up on a device that
// ends before the farthest of them (that of btrfs, behind 64 KiB).
const smallest = 128 << 10

// isoImage returns an iso9660 volume with Rock Ridge names that holds the
// files. Owners and times are the same whoever makes it whenever.
func isoImage(label string, files map[string][]byte) ([]byte, error) {
	tree, err := os.MkdirTemp("", "muster-seed-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tree) //nolint:errcheck // a private directory of temporary files
	for name, content := range files {
		name = filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return nil, err
		}
	}
	var image memory
	volume, err := iso9660.Create(&image, 0, 0, sector, tree)
	if err != nil {
		return nil, err
	}
	if err := volume.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: label}); err != nil {
		return nil, err
	}
	image.grow(max((len(image.b)+sector-1)/sector*sector, smallest))
	return image.b, normalise(image.b)
}

// Offsets and lengths that ECMA-119 and the Rock Ridge protocol fix.
const (
	descriptor      = 16 * sector      // of the volume
	descriptorRoot  = descriptor + 156 // its record of the root directory
	descriptorTimes = descriptor + 813 // creation, modification, expiration, effective
	made            = "1970010100000000" + "\x00"
	expires         = "9999123100000000" + "\x00"
	recordName      = 33
)

var recordTime = []byte{70, 1, 1, 0, 0, 0, 0}

var errVolume = errors.New("malformed iso9660 volume")

// normalise overwrites the times and owners that the volume was written with.
func normalise(volume []byte) error {
	if len(volume) < descriptor+sector {
		return errVolume
	}
	copy(volume[descriptorTimes:], made+made+expires+made)
	return normaliseDirectory(volume, volume[descriptorRoot:descriptorRoot+34], 0)
}

func normaliseDirectory(volume, of []byte, depth int) error {
	start := int(binary.LittleEndian.Uint32(of[2:])) * sector
	end := start + int(binary.LittleEndian.Uint32(of[10:]))
	if start > end || end > len(volume) || depth > 8 {
		return errVolume
	}
	copy(of[18:], recordTime)
	for at := start; at < end; {
		n := int(volume[at])
		if n == 0 { // records do not cross sectors
			at = (at/sector + 1) * sector
			continue
		}
		if n < recordName+1 || at+n > end {
			return errVolume
		}
		record := volume[at : at+n]
		at += n
		copy(record[18:], recordTime)
		name := int(record[32])
		extensions := recordName + name + (name+1)%2
		if extensions > n {
			return errVolume
		}
		normaliseExtensions(record[extensions:])
		own := name == 1 && record[recordName] <= 1 // "." and ".."
		if isDirectory := record[25]&2 != 0; isDirectory && !own {
			if err := normaliseDirectory(volume, record, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// normaliseExtensions rewrites the Rock Ridge members of one record: TF holds
// three times, PX the mode, the links, the owner and the group, in both byte
// orders each.
func normaliseExtensions(b []byte) {
	for len(b) >= 4 && int(b[2]) >= 4 && int(b[2]) <= len(b) {
		member := b[:b[2]]
		b = b[b[2]:]
		switch string(member[:2]) {
		case "TF":
			for t := 5; t+len(recordTime) <= len(member); t += len(recordTime) {
				copy(member[t:], recordTime)
			}
		case "PX":
			clear(member[min(20, len(member)):min(36, len(member))])
		}
	}
}

// memory is a file in memory, for the volume to be written to.
type memory struct {
	b  []byte
	at int64
}

var _ backend.Storage = (*memory)(nil)

func (m *memory) grow(n int) {
	if n > len(m.b) {
		m.b = append(m.b, make([]byte, n-len(m.b))...)
	}
}

// WriteAt implements io.WriterAt and makes the file longer where needed.
func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.grow(int(off) + len(p))
	return copy(m.b[off:], p), nil
}

// ReadAt implements io.ReaderAt.
func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Read implements io.Reader.
func (m *memory) Read(p []byte) (int, error) {
	n, err := m.ReadAt(p, m.at)
	m.at += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (m *memory) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += m.at
	case io.SeekEnd:
		offset += int64(len(m.b))
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: %w", offset, fs.ErrInvalid)
	}
	m.at = offset
	return offset, nil
}

// Close implements io.Closer.
func (m *memory) Close() error { return nil }

// Stat implements fs.File: there is no file.
func (m *memory) Stat() (fs.FileInfo, error) { return nil, backend.ErrNotSuitable }

// Sys implements backend.Storage: there is no file.
func (m *memory) Sys() (*os.File, error) { return nil, backend.ErrNotSuitable }

// Writable implements backend.Storage.
func (m *memory) Writable() (backend.WritableFile, error) { return m, nil }

// Path implements backend.Storage: there is none.
func (m *memory) Path() string { return "" }
