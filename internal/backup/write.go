package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// Source is what is backed up.
type Source struct {
	Backend store.Backend
	State   string // the state directory
	Muster  string // this program's version
	Now     time.Time
}

// Write writes a backup. Records are those of one revision; the files are read
// after them, so that every address a record speaks of is there.
func Write(ctx context.Context, to io.Writer, from Source) error {
	zip := gzip.NewWriter(to)
	w := &writer{tar: tar.NewWriter(zip), m: Manifest{Format: Format, Muster: from.Muster, Taken: from.Now.UTC().Round(0)}}
	if err := w.member(formatMember, fmt.Appendf(nil, "%d\n", Format)); err != nil {
		return err
	}
	var err error
	w.m.Revision, err = from.Backend.Load(ctx, w.record)
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = w.files(from.State)
	}
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(w.m, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(w.add(manifestMember, append(raw, '\n')), w.tar.Close(), zip.Close())
}

type writer struct {
	tar    *tar.Writer
	m      Manifest
	chunk  bytes.Buffer
	chunks int
}

// record adds a record. Leases are of processes that will be gone.
func (w *writer) record(i store.Item) error {
	if strings.HasPrefix(i.Key, store.LeaseKey("")) {
		return nil
	}
	if strings.ContainsAny(i.Key, "\t\n") || bytes.IndexByte(i.Value, '\n') >= 0 {
		return resource.Errorf(resource.Internal, "", "the record %q cannot be written as a line", i.Key)
	}
	w.chunk.WriteString(i.Key)
	w.chunk.WriteByte('\t')
	w.chunk.Write(i.Value)
	w.chunk.WriteByte('\n')
	w.m.Records++
	if w.chunk.Len() < chunkBytes {
		return nil
	}
	return w.flush()
}

func (w *writer) flush() error {
	if w.chunk.Len() == 0 {
		return nil
	}
	w.chunks++
	err := w.member(fmt.Sprintf("%s%06d", recordsMember, w.chunks), w.chunk.Bytes())
	w.chunk.Reset()
	return err
}

// files adds the files of a state directory that are kept.
func (w *writer) files(state string) error {
	names, err := filesOf(state)
	for _, name := range names {
		raw, err := os.ReadFile(filepath.Join(state, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return resource.Errorf(resource.Unavailable, "", "A file of the state directory cannot be read: %v.", err)
		}
		if name == "principals.json" {
			var of struct{ TenantID string }
			_ = json.Unmarshal(raw, &of) // a manifest without tenant is no harm
			w.m.Tenant = of.TenantID
		}
		if err := w.member(filesMember+name, raw); err != nil {
			return err
		}
	}
	return err
}

// filesOf lists the files of a state directory that are kept, sorted.
func filesOf(state string) (names []string, err error) {
	entries, err := os.ReadDir(state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.Type().IsRegular() && kept(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if _, statErr := os.Stat(filepath.Join(state, leasesFile)); statErr == nil {
		names = append(names, leasesFile)
	}
	return names, err
}

// member adds a member and notes it in the manifest.
func (w *writer) member(name string, body []byte) error {
	w.m.Members = append(w.m.Members, describe(name, body))
	return w.add(name, body)
}

func describe(name string, body []byte) Member {
	sum := sha256.Sum256(body)
	return Member{Name: name, Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
}

func (w *writer) add(name string, body []byte) error {
	err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(body)), ModTime: w.m.Taken, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	_, err = w.tar.Write(body)
	return err
}
