package disk_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/disk"
)

// qcow2File is the smallest file that passes for a qcow2 disk.
func qcow2File(change func(header []byte)) []byte {
	b := make([]byte, 1<<17)
	copy(b, "QFI\xfb")
	put32, put64 := binary.BigEndian.PutUint32, binary.BigEndian.PutUint64
	put32(b[4:], 3)
	put32(b[20:], 16)
	put64(b[24:], 1<<30)
	put32(b[36:], 1)
	put64(b[40:], 1<<16)
	put64(b[48:], 1<<16)
	put32(b[56:], 1)
	put32(b[100:], 104)
	change(b)
	return b
}

// vhdFile is a fixed VHD of 1 MiB.
func vhdFile(change func(footer []byte)) []byte {
	b := make([]byte, 1<<20+512)
	f := b[1<<20:]
	copy(f, "conectix")
	binary.BigEndian.PutUint64(f[48:], 1<<20)
	binary.BigEndian.PutUint32(f[60:], 2)
	change(f)
	var sum uint32
	for i, c := range f {
		if i < 64 || i >= 68 {
			sum += uint32(c)
		}
	}
	binary.BigEndian.PutUint32(f[64:], binary.BigEndian.Uint32(f[64:])+^sum)
	return b
}

func same([]byte) {}

func TestHeadersSayWhatADiskIs(t *testing.T) {
	set := func(at int, value byte) func([]byte) { return func(b []byte) { b[at] = value } }
	for name, tt := range map[string]struct {
		file   []byte
		want   disk.Header
		faults string
	}{
		"qcow2":            {qcow2File(same), disk.Header{Format: "qcow2", Bytes: 1 << 30}, ""},
		"dirty":            {qcow2File(set(79, 1)), disk.Header{Format: "qcow2", Bytes: 1 << 30}, ""},
		"overlay":          {qcow2File(set(15, 1)), disk.Header{}, "overlay"},
		"external data":    {qcow2File(set(79, 4)), disk.Header{}, "another file"},
		"corrupt":          {qcow2File(set(79, 2)), disk.Header{}, "corrupt"},
		"unknown feature":  {qcow2File(set(79, 32)), disk.Header{}, "not known here (0x20)"},
		"encrypted":        {qcow2File(set(35, 1)), disk.Header{}, "encrypted"},
		"version 4":        {qcow2File(set(7, 4)), disk.Header{}, "unknown version 4"},
		"tiny clusters":    {qcow2File(set(23, 3)), disk.Header{}, "impossible size"},
		"huge":             {qcow2File(set(24, 1)), disk.Header{}, "size that no disk has"},
		"tables outside":   {qcow2File(set(40, 1)), disk.Header{}, "cut short"},
		"counts outside":   {qcow2File(set(56, 1)), disk.Header{}, "cut short"},
		"cut":              {qcow2File(same)[:100], disk.Header{}, "cut short"},
		"vhd":              {vhdFile(same), disk.Header{Format: "vhd", Bytes: 1 << 20}, ""},
		"wrong checksum":   {vhdFile(set(64, 1)), disk.Header{}, "checksum"},
		"differencing":     {vhdFile(set(63, 4)), disk.Header{}, "differencing"},
		"unknown type":     {vhdFile(set(63, 9)), disk.Header{}, "unknown type 9"},
		"part missing":     {vhdFile(set(48, 1))[1<<19:], disk.Header{}, "size that no disk has"},
		"a part is absent": {vhdFile(same)[1<<19:], disk.Header{}, "a part is missing"},
		"raw":              {make([]byte, 1024), disk.Header{Format: "raw", Bytes: 1024}, ""},
		"odd":              {make([]byte, 1000), disk.Header{}, "1000 bytes"},
		"gzip":             {append([]byte("\x1f\x8b"), make([]byte, 510)...), disk.Header{}, "gzip"},
		"nothing":          {nil, disk.Header{}, "empty"},
	} {
		got, fault, err := disk.ReadHeader(bytes.NewReader(tt.file), int64(len(tt.file)), "")
		if err != nil || !strings.Contains(fault, tt.faults) || (fault == "") != (tt.faults == "") || fault == "" && got != tt.want {
			t.Errorf("%s: %+v, %q, %v; want %+v, %q", name, got, fault, err, tt.want, tt.faults)
		}
		if fault == "" {
			for _, want := range []string{"qcow2", "raw", "vhd"} {
				if _, fault, _ := disk.ReadHeader(bytes.NewReader(tt.file), int64(len(tt.file)), want); (fault == "") != (want == tt.want.Format) {
					t.Errorf("%s as %s: %q", name, want, fault)
				}
			}
		}
	}
}

// onlyRead hides everything but ReadAt.
type onlyRead struct{ io.ReaderAt }

// FuzzReadHeader feeds files that strangers wrote to the parsers: they end, and
// what they accept is plausible.
func FuzzReadHeader(f *testing.F) {
	f.Add(qcow2File(same)[:2048], "")
	f.Add(vhdFile(same)[1<<20:], "vhd")
	f.Add(vhdFile(func(b []byte) { b[63] = 3 })[1<<20-2048:], "")
	f.Add(make([]byte, 1024), "raw")
	f.Fuzz(func(t *testing.T, file []byte, want string) {
		h, fault, err := disk.ReadHeader(onlyRead{bytes.NewReader(file)}, int64(len(file)), want)
		if err != nil {
			t.Fatal(err)
		}
		if fault == "" && (h.Bytes <= 0 || h.Bytes > 1<<50 || h.Format == "" || want != "" && want != h.Format) {
			t.Errorf("%+v is taken for a disk, wanted %q", h, want)
		}
	})
}
