package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/backup"
	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu"
	"github.com/muster-vm/muster/internal/host/volume"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/etcdstore"
	"github.com/muster-vm/muster/internal/vmss"
)

// Backup writes a backup of a state directory to a file, by way of the server if
// one runs there. The file appears complete and verified, or not at all.
func Backup(ctx context.Context, c Config, file string, out io.Writer, log *slog.Logger) error {
	state, err := existing(c.State)
	if err != nil {
		return err
	}
	c.State = state
	tmp, err := os.CreateTemp(filepath.Dir(file), ".muster-backup-*") // mode 0600
	if err != nil {
		return resource.Errorf(resource.Invalid, "", "The backup cannot be written: %v. Choose another file.", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone once it has its name
	if err = copyBackup(ctx, c, tmp, log); err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		if ctx.Err() != nil {
			return resource.Errorf(resource.Canceled, "", "The backup was canceled; nothing was written.").Because(err)
		}
		return err
	}
	m, err := backup.Verify(ctx, tmp.Name())
	if err != nil {
		return err
	}
	if err := durable.Settle(tmp.Name(), file); err != nil {
		return err
	}
	fmt.Fprintf(out, "backup: %d records at revision %d in %s, verified; it holds every secret of the server: keep it where nobody else can read it\n", m.Records, m.Revision, file)
	return nil
}

// existing returns the absolute path of a state directory that is there.
func existing(dir string) (string, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", resource.Errorf(resource.NotFound, "", "There is no state directory %s.", dir)
	}
	return stateDir(dir)
}

// copyBackup has the running server write a backup, or reads the state itself
// where none runs.
func copyBackup(ctx context.Context, c Config, to io.Writer, log *slog.Logger) error {
	answer, err := askControl(ctx, c.State, "/backup")
	if err == nil {
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return resource.Errorf(resource.Unavailable, "", "The server refuses the backup: %s. Is it of another version?", answer.Status)
		}
		if _, err := io.Copy(to, answer.Body); err != nil {
			return resource.Errorf(resource.Unavailable, "", "The backup ended early; the server's log says why.").Because(err)
		}
		return nil
	}
	if !resource.Is(err, resource.NotFound) {
		return err
	}
	lock, err := takeLock(c.State)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := finishRestore(c.State, io.Discard); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.State, etcdDir)); errors.Is(err, fs.ErrNotExist) && len(c.Etcd.Endpoints) == 0 {
		return resource.Errorf(resource.NotFound, "", "There are no records in %s: no server has run on it.", c.State)
	}
	backend, err := openBackend(ctx, c, log)
	if err != nil {
		return err
	}
	err = backup.Write(ctx, to, backup.Source{Backend: backend, State: c.State, Muster: c.version, Now: time.Now()})
	return errors.Join(err, backend.Close())
}

// RestoreOptions say what is restored and what an operator agreed to lose.
type RestoreOptions struct {
	File       string
	Force      bool // the directory's present records and identity, which are kept beside the new ones
	DiscardVMs bool // machines that the backup does not know, with their disks
}

// Restore puts a backup into a state directory that no server uses. Nothing is
// changed unless all of the backup was read and verified.
func Restore(ctx context.Context, c Config, o RestoreOptions, out io.Writer, log *slog.Logger) error {
	if len(c.Etcd.Endpoints) > 0 {
		return resource.Errorf(resource.Invalid, "", "Records are in an etcd of your own: restore it with etcdctl. This command restores the embedded one.").At("etcd.endpoints")
	}
	if _, err := backup.Verify(ctx, o.File); err != nil { // before the directory is made
		return err
	}
	state, err := stateDir(c.State)
	if err != nil {
		return err
	}
	lock, err := takeLock(state)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := finishRestore(state, out); err != nil { // an earlier one that was cut short
		return err
	}
	taken, err := backup.Occupied(state)
	if err != nil {
		return err
	}
	if taken && !o.Force {
		return resource.Errorf(resource.Conflict, "StateNotEmpty", "The state directory %s holds records or keys already. "+
			"--force replaces them; they are kept in a directory beside the new ones. Nothing was changed.", state)
	}
	var lost lost
	staged, err := backup.Stage(ctx, o.File, state, embedded(ctx, log), func(b store.Backend) (err error) {
		lost, err = checkRestored(ctx, b, o.File, state, log)
		return err
	})
	if err != nil {
		return err
	}
	if len(lost.why) > 0 && !o.DiscardVMs {
		return errors.Join(errVMsLost(state, lost.why), staged.Discard())
	}
	if err := staged.Commit(); err != nil {
		return err
	}
	if err := finishRestore(state, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "restored: %d records of %s\n", staged.Manifest.Records, staged.Manifest.Taken.Local().Format(time.RFC3339))
	for _, id := range lost.machines {
		fmt.Fprintf(out, "the next start removes virtual machine %s\n", id)
	}
	if err := lost.tellOfContents(state, out); err != nil {
		return err
	}
	return setDisksAside(state, lost.disks, out)
}

// setDisksAside moves disks out of the way that an instance of the same number
// would else be given.
func setDisksAside(state string, ids []compute.VMID, out io.Writer) error {
	to := filepath.Join(state, "replaced-disks-"+time.Now().UTC().Format("20060102T150405.000Z"))
	for _, id := range ids {
		fmt.Fprintf(out, "the disks of %s-%d, which has no virtual machine, are now in %s\n", id.Set, id.Instance, to)
	}
	return qemu.SetAside(filepath.Join(state, computeDir), to, ids)
}

func embedded(ctx context.Context, log *slog.Logger) func(dir string) (store.Backend, error) {
	return func(dir string) (store.Backend, error) {
		return etcdstore.OpenEmbedded(ctx, etcdstore.Options{Dir: dir, Log: log})
	}
}

// finishRestore carries out a restore that was committed, if there is one. The
// new etcd counts its revisions from the start, and so do its leases: the driver
// forgets the highest that it has seen. The lock says that no server with an
// older one is left.
func finishRestore(state string, out io.Writer) error {
	replaced, err := backup.Finish(state, time.Now(), func() error { return qemu.ForgetLease(filepath.Join(state, computeDir)) })
	if replaced != "" {
		fmt.Fprintf(out, "what was there before is in %s; remove it once it is not needed\n", replaced)
	}
	return err
}

// lost is what a start on restored records has no use for.
type lost struct {
	machines, disks []compute.VMID // disks: of those without a machine, as muster down leaves them
	why             []string       // a line for each

	contents []disk.UID // of disks, snapshots and images that were made after the backup
	missing  []string   // ids of those whose content is not here
}

// checkRestored reads the restored records as a server does, and finds the
// machines and disks of this state directory that they do not speak of.
func checkRestored(ctx context.Context, b store.Backend, file, state string, log *slog.Logger) (l lost, err error) {
	s, err := store.Open(ctx, b, log)
	if err != nil {
		return l, resource.Errorf(resource.Invalid, "BackupUnreadable", "The backup %s has a record that this muster cannot read. Nothing was changed.", file).Because(err)
	}
	machines, err := qemu.Stored(filepath.Join(state, computeDir))
	if err != nil {
		return l, err
	}
	disks, err := qemu.KeptDisks(filepath.Join(state, computeDir))
	l.machines, l.disks = l.unknown(s, machines, ""), l.unknown(s, disks, " (disks only)")
	return l, errors.Join(err, l.compareContents(s, state))
}

// compareContents finds the contents of which the records do not speak, and the
// records whose content is not here: backups have no contents.
func (l *lost) compareContents(s *store.Store, state string) error {
	found, err := volume.Contents(filepath.Join(state, volumeDir))
	here := map[disk.UID]bool{}
	for _, uid := range found {
		here[uid] = true
		if _, ok := s.DiskByUID(uid); !ok {
			l.contents = append(l.contents, uid)
		}
	}
	for _, e := range store.All(s, store.Disks) {
		if made, ok := store.Get(s, store.DiskStates, e.Value.UID); ok && made.Value.Ready && !here[e.Value.UID] {
			l.missing = append(l.missing, e.Value.ID.String())
		}
	}
	return err
}

// tellOfContents moves the contents out of the way that a server would remove, for
// they are nobody's now, and says which are missing.
func (l *lost) tellOfContents(state string, out io.Writer) error {
	to := filepath.Join(state, "replaced-volumes-"+time.Now().UTC().Format("20060102T150405.000Z"))
	if n := len(l.contents); n > 0 {
		fmt.Fprintf(out, "the contents of %d disks, snapshots and images that were made after the backup are now in %s\n", n, to)
	}
	for _, id := range l.missing {
		fmt.Fprintf(out, "the content of %s is not in %s: put its file there before the server starts, or delete the resource\n", id, filepath.Join(state, volumeDir))
	}
	return volume.SetAside(filepath.Join(state, volumeDir), to, l.contents)
}

// unknown returns those of the ids that have no row, or one that is to have
// other disks, and notes why.
func (l *lost) unknown(s *store.Store, ids []compute.VMID, what string) (out []compute.VMID) {
	for _, id := range ids {
		var why string
		switch rec := s.Instance(vmss.UID(id.Set), vmss.InstanceID(id.Instance)); {
		case rec == nil:
			why = "made after the backup"
		case rec.Row.Value.Disks != id.Disks && id.Disks > 0:
			why = "reimaged after the backup"
		case rec.Row.Value.Deleting:
			why = "was being deleted when the backup was taken"
		default:
			continue
		}
		out = append(out, id)
		l.why = append(l.why, id.String()+what+": "+why)
	}
	return out
}

func errVMsLost(state string, why []string) error {
	return resource.Errorf(resource.Conflict, "VirtualMachinesUnknown", "The backup does not know %d virtual machines of %s, and a server started on it would remove them, or give their disks to others:\n  %s\n"+
		"Take a newer backup, save the disks (%s), or agree with --discard-vms. Nothing was changed.",
		len(why), state, strings.Join(why, "\n  "), filepath.Join(state, computeDir, "disks"))
}
