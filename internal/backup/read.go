package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// Verify reads a backup from end to end and returns its manifest. It fails with
// Invalid for a file that is damaged, cut off, of a newer version, or no backup.
func Verify(ctx context.Context, file string) (Manifest, error) {
	return read(ctx, file, sink{
		record: func(store.Item) error { return nil },
		file:   func(string, []byte) error { return nil },
	})
}

// sink takes what a backup holds. What it is given is not verified as a whole
// before read returns nil.
type sink struct {
	record func(store.Item) error
	file   func(name string, content []byte) error
}

func read(ctx context.Context, file string, to sink) (Manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return Manifest{}, resource.Errorf(resource.Invalid, "BackupUnreadable", "The backup cannot be read: %v.", err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return Manifest{}, errForeign(file)
	}
	r := &reader{name: file, tar: tar.NewReader(zip), to: to}
	for ctx.Err() == nil {
		name, body, err := r.next()
		if errors.Is(err, io.EOF) {
			return r.finish(zip)
		}
		if err == nil {
			err = r.take(name, body)
		}
		if err != nil {
			return r.m, err
		}
	}
	return r.m, resource.Errorf(resource.Canceled, "", "The request was canceled.").Because(ctx.Err())
}

// reader reads a backup and compares it with its manifest.
type reader struct {
	name    string
	tar     *tar.Reader
	to      sink
	m       Manifest
	members []Member
	records int
	done    bool // the manifest was read
}

// next returns a member, and io.EOF after the last one.
func (r *reader) next() (string, []byte, error) {
	head, err := r.tar.Next()
	if errors.Is(err, io.EOF) {
		return "", nil, io.EOF
	}
	if err != nil && len(r.members) == 0 {
		return "", nil, errForeign(r.name)
	}
	if err != nil {
		return "", nil, errDamaged(r.name, "a part of it cannot be read").Because(err)
	}
	if head.Size > memberBytes || head.Typeflag != tar.TypeReg {
		return "", nil, errDamaged(r.name, "the member "+strconv.Quote(head.Name)+" is not of a backup")
	}
	body, err := io.ReadAll(r.tar)
	if err != nil {
		return "", nil, errDamaged(r.name, "the member "+strconv.Quote(head.Name)+" cannot be read").Because(err)
	}
	return head.Name, body, nil
}

// take takes in a member.
func (r *reader) take(name string, body []byte) error {
	if len(r.members) == 0 {
		if err := r.checkFormat(name, body); err != nil {
			return err
		}
	}
	switch file, isFile := strings.CutPrefix(name, filesMember); {
	case r.done:
		return errDamaged(r.name, "something follows its manifest")
	case name == manifestMember:
		r.done = true
		if err := json.Unmarshal(body, &r.m); err != nil {
			return errDamaged(r.name, "its manifest cannot be read").Because(err)
		}
		return nil
	case isFile && kept(file):
		if err := r.to.file(file, body); err != nil {
			return err
		}
	case strings.HasPrefix(name, recordsMember):
		if err := r.takeRecords(body); err != nil {
			return err
		}
	case len(r.members) > 0:
		return errDamaged(r.name, "it has a member "+strconv.Quote(name)+", which no backup has")
	}
	r.members = append(r.members, describe(name, body))
	return nil
}

// checkFormat looks at the first member, which says how to read the others.
func (r *reader) checkFormat(name string, body []byte) error {
	format, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if name != formatMember || err != nil || format < 1 {
		return errForeign(r.name)
	}
	if format > Format {
		return resource.Errorf(resource.Invalid, "BackupTooNew", "The backup %s has format %d; this muster reads up to %d: a newer one wrote it. Restore it with that version. Nothing was changed.",
			r.name, format, Format)
	}
	return nil
}

func (r *reader) takeRecords(body []byte) error {
	for line := range bytes.Lines(body) {
		key, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
		if !ok {
			return errDamaged(r.name, "a record has no value")
		}
		r.records++
		if err := r.to.record(store.Item{Key: string(key), Value: bytes.Clone(value)}); err != nil {
			return err
		}
	}
	return nil
}

// finish compares what was read with the manifest.
func (r *reader) finish(zip io.Reader) (Manifest, error) {
	if _, err := io.Copy(io.Discard, zip); err != nil { // the checksum comes last
		return r.m, errDamaged(r.name, "its end cannot be read").Because(err)
	}
	switch {
	case len(r.members) == 0:
		return r.m, errForeign(r.name)
	case !r.done:
		return r.m, errDamaged(r.name, "it has no manifest, which comes last")
	case !slices.Equal(r.m.Members, r.members):
		return r.m, errDamaged(r.name, "a member is not what the manifest says")
	case r.m.Records != r.records:
		return r.m, errDamaged(r.name, "it has "+strconv.Itoa(r.records)+" records, and its manifest says "+strconv.Itoa(r.m.Records))
	}
	return r.m, nil
}
