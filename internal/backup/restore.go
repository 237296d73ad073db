package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// A restore is made whole in a directory of its own. Giving that its second name
// is the moment from which on the restore is a fact: before it, a crash leaves
// the state as it was; after it, Finish does the rest, as often as it takes.
const (
	stagingDir  = "restore.new"   // being made; worth nothing
	readyDir    = "restore.ready" // complete
	replacedDir = "replaced"      // in readyDir: what was there before
	movedFile   = ".moved"        // in readyDir: all that was there before is in replacedDir
	etcdDir     = "etcd"
)

// Staged is a backup that was read and verified, beside the state that it will
// replace.
type Staged struct {
	Manifest Manifest
	state    string
}

// Stage reads a backup into a directory beside the state, which stays as it is.
// The caller has the state's lock. open opens an empty backend over a directory;
// check looks at the records once all are there, and its error ends it. Nothing
// is left of a Stage that fails.
func Stage(ctx context.Context, file, state string, open func(dir string) (store.Backend, error), check func(store.Backend) error) (*Staged, error) {
	dir := filepath.Join(state, stagingDir)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	s := &Staged{state: state}
	err := s.fill(ctx, file, dir, open, check)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Staged) fill(ctx context.Context, file, dir string, open func(dir string) (store.Backend, error), check func(store.Backend) error) (err error) {
	// What is no backup at all is found out before anything is made.
	if s.Manifest, err = Verify(ctx, file); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(leasesFile)), 0o700); err != nil {
		return err
	}
	backend, err := open(filepath.Join(dir, etcdDir))
	if err != nil {
		return err
	}
	b := batch{ctx: ctx, to: backend}
	again, err := read(ctx, file, sink{record: b.add, file: func(name string, content []byte) error {
		return durable.Write(filepath.Join(dir, name), content)
	}})
	if err == nil && (again.Records != s.Manifest.Records || !again.Taken.Equal(s.Manifest.Taken)) {
		err = errDamaged(file, "it was changed while it was read")
	}
	if err == nil {
		err = b.flush()
	}
	if err == nil {
		err = check(backend)
	}
	return errors.Join(err, backend.Close())
}

// Discard removes what was staged.
func (s *Staged) Discard() error { return os.RemoveAll(filepath.Join(s.state, stagingDir)) }

// Commit makes the restore a fact. Finish carries it out.
func (s *Staged) Commit() error {
	if err := durable.SyncDir(filepath.Join(s.state, stagingDir)); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(s.state, stagingDir), filepath.Join(s.state, readyDir)); err != nil {
		return err
	}
	return durable.SyncDir(s.state)
}

// Occupied reports whether a state directory holds what a restore would replace.
func Occupied(state string) (bool, error) {
	names, err := filesOf(state)
	if err != nil || len(names) > 0 {
		return len(names) > 0, err
	}
	_, err = os.Stat(filepath.Join(state, etcdDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, err
}

// Finish carries out a restore that was committed, if there is one, and returns
// the directory that what was there before is now in; empty if there was
// nothing. The caller has the state's lock. reset is called while the state is
// neither the old nor the new one; it may be called again after a crash.
func Finish(state string, now time.Time, reset func() error) (replaced string, err error) {
	ready := filepath.Join(state, readyDir)
	if _, err := os.Stat(ready); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	if err := setAside(state, ready, reset); err != nil {
		return "", unfinished(state, err)
	}
	if err := moveIn(state, ready); err != nil {
		return "", unfinished(state, err)
	}
	old := filepath.Join(ready, replacedDir)
	if err := os.Remove(old); err != nil { // which it is not, if it has something in it
		replaced = filepath.Join(state, "replaced-"+now.UTC().Format("20060102T150405.000Z"))
		if err := os.Rename(old, replaced); err != nil {
			return "", unfinished(state, err)
		}
	}
	return replaced, errors.Join(os.RemoveAll(ready), durable.SyncDir(state))
}

func unfinished(state string, err error) error {
	return resource.Errorf(resource.Unavailable, "RestoreUnfinished",
		"The restore into %s could not be finished. Mend what stands in its way; the next start or restore goes on with it.", state).Because(err)
}

// setAside moves what is replaced out of the way. Addresses that this host has
// given out since are those that its machines use: they stay.
func setAside(state, ready string, reset func() error) error {
	moved := filepath.Join(ready, movedFile)
	if _, err := os.Stat(moved); err == nil {
		return nil
	}
	old := filepath.Join(ready, replacedDir)
	if err := os.MkdirAll(filepath.Join(old, filepath.Dir(leasesFile)), 0o700); err != nil {
		return err
	}
	names, err := filesOf(state)
	if err != nil {
		return err
	}
	for _, name := range append(names, etcdDir) {
		if name == leasesFile && usable(filepath.Join(state, name)) {
			if err := os.RemoveAll(filepath.Join(ready, name)); err != nil {
				return err
			}
			continue
		}
		err := os.Rename(filepath.Join(state, name), filepath.Join(old, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_ = os.Remove(filepath.Join(old, filepath.Dir(leasesFile))) // unless the leases are in it
	if err := reset(); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(state), durable.Write(moved, nil))
}

// usable reports whether a file of leases can be read at all.
func usable(file string) bool {
	raw, err := os.ReadFile(file)
	return err == nil && json.Valid(raw)
}

// moveIn gives the new state its names.
func moveIn(state, ready string) error {
	names, err := filesOf(ready)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(state, filepath.Dir(leasesFile)), 0o700); err != nil {
		return err
	}
	for _, name := range append(names, etcdDir) {
		err := os.Rename(filepath.Join(ready, name), filepath.Join(state, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return durable.SyncDir(state)
}

// batch writes records in commits that backends take.
type batch struct {
	ctx   context.Context //nolint:containedctx // of one restore
	to    store.Backend
	ops   []store.Op
	bytes int
}

func (b *batch) add(i store.Item) error {
	size := len(i.Key) + len(i.Value)
	if len(b.ops) == store.MaxOps || b.bytes+size > store.MaxBytes {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.ops = append(b.ops, store.Op{Do: store.Write, Key: i.Key, Value: i.Value, Guard: store.Absent})
	b.bytes += size
	return nil
}

func (b *batch) flush() error {
	if len(b.ops) == 0 {
		return nil
	}
	_, err := b.to.Commit(b.ctx, b.ops)
	b.ops, b.bytes = nil, 0
	return err
}
