package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
)

// startup is how long an embedded etcd may take until it serves: the log since
// the last snapshot is read and checked before.
const startup = 2 * time.Minute

// OpenEmbedded opens a store over an etcd of its own inside this process, a
// cluster of one that listens nowhere. The caller has locked o.Dir, which is
// created if need be; leases that an earlier process left there are ended. It
// fails with Invalid for a directory whose state cannot be used, Exhausted if
// the disk is full, and Unavailable if the state is in use or etcd does not
// start.
func OpenEmbedded(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := inspect(o.Dir); err != nil {
		return nil, o.unusable(err)
	}
	up, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	level := zap.NewAtomicLevelAt(zapcore.ErrorLevel) // it warns of how it is used, at every start
	etcd, err := launch(up, o.config(newLogger(newBridge(ctx, level, o.Log.Handler()), fail)), fail)
	if err != nil {
		return nil, o.unusable(err)
	}
	client := v3client.New(etcd.Server)
	shutdown := func() {
		level.SetLevel(zapcore.FatalLevel + 1) // etcd warns of what it does on purpose
		_ = client.Close()                     // it says that it was canceled
		// An etcd that broke down may hold locks that nobody gives back.
		if up.Err() == nil {
			etcd.Close()
		}
	}
	err = ready(ctx, up, etcd)
	if err == nil {
		err = endLeases(ctx, client, o.Prefix)
	}
	if err != nil {
		shutdown()
		return nil, o.unusable(err)
	}
	level.SetLevel(zapcore.WarnLevel)
	s := &Store{client: client, embedded: true, shutdown: shutdown}
	s.start(ctx, o)
	s.watchSize(ctx) // there may be room again in a store that was full
	context.AfterFunc(up, func() { s.end(o.brokeDown(context.Cause(up))) })
	return s, nil
}

// config is that of a cluster of one without listeners. The address is a name
// in the list of members only.
func (o Options) config(logger *zap.Logger) *embed.Config {
	c := embed.NewConfig()
	c.Name, c.Dir = "muster", o.Dir
	c.ListenPeerUrls, c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil, nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.InitialClusterToken = "muster"
	c.EnableGRPCGateway = false
	// Nobody else votes, so the election is but a delay at the start.
	c.TickMs, c.ElectionMs = 20, 100
	// Entries in memory are for members that lag; those on disk are read at the
	// next start.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 5000, 100
	c.MaxWalFiles = 2
	c.QuotaBackendBytes = o.Quota
	c.BootstrapDefragThresholdMegabytes = 256
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return c
}

// inspect refuses a directory that etcd would hang, panic or crash on.
func inspect(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "member", "snap", "db")
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0) {
		return nil // etcd makes it
	}
	if err != nil {
		return err
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: 100 * time.Millisecond})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return resource.Errorf(resource.Unavailable, codeUnavailable, "The state in %s is in use by another process.", dir)
	}
	if err != nil {
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("%s is cut off: %d of %d bytes", file, info.Size(), tx.Size())
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// launch starts etcd. If it breaks down meanwhile, what it started is left
// behind: its goroutines may wait for each other for ever.
func launch(up context.Context, config *embed.Config, fail context.CancelCauseFunc) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				fail(fmt.Errorf("etcd panics: %v", r))
			}
		}()
		etcd, err := embed.StartEtcd(config)
		started <- result{etcd, err}
	}()
	select {
	case r := <-started:
		return r.etcd, r.err
	case <-up.Done():
		return nil, context.Cause(up)
	}
}

// ready waits until etcd serves.
func ready(ctx, up context.Context, etcd *embed.Etcd) error {
	if n := len(etcd.Server.Cluster().Members()); n > 1 { // 0 while only the log knows of it
		return fmt.Errorf("a cluster of %d members", n)
	}
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case <-up.Done():
		return context.Cause(up)
	case <-etcd.Server.StopNotify():
		return errors.New("etcd stopped")
	case <-ctx.Done():
		return explain(ctx, ctx.Err())
	}
}

// endLeases ends the leases of processes that are gone: there is one process at
// a time.
func endLeases(ctx context.Context, client *clientv3.Client, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	all := prefix + store.LeaseKey("")
	answer, err := client.Get(ctx, all, clientv3.WithPrefix())
	if err != nil {
		return explain(ctx, err)
	}
	for _, kv := range answer.Kvs {
		// That it ran out just now is no matter: its record is deleted below.
		_, _ = client.Revoke(ctx, clientv3.LeaseID(kv.Lease))
	}
	if _, err := client.Delete(ctx, all, clientv3.WithPrefix()); err != nil {
		return explain(ctx, err)
	}
	return nil
}

// brokeDown explains why an embedded etcd ended.
func (o Options) brokeDown(cause error) error {
	if isFull(cause) {
		return o.errDiskFull(cause)
	}
	return resource.Errorf(resource.Unavailable, codeUnavailable, "The embedded etcd broke down. "+
		"Its log says why; restart Muster.").Because(cause)
}

// unusable explains why the state cannot be opened.
func (o Options) unusable(err error) error {
	if _, ok := errors.AsType[*resource.Error](err); ok {
		return err
	}
	if isFull(err) {
		return o.errDiskFull(err)
	}
	return resource.Errorf(resource.Invalid, codeUnreadable, "The state in %s cannot be used. It may be damaged, of a newer version, "+
		"or not Muster's: restore a backup, or use the version that wrote it.", o.Dir).Because(err)
}

// errDiskFull is errFull of an embedded etcd, whose directory is known.
func (o Options) errDiskFull(cause error) error {
	return resource.Errorf(resource.Exhausted, codeFull, "There is no space left for the state in %s. Free some on that disk, then restart Muster.", o.Dir).Because(cause)
}
