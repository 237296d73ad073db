package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/etcdstore"
	"github.com/muster-vm/muster/internal/store/storetest"
)

// shared is the one embedded etcd that most tests use; TestMain opens it.
var shared *etcdstore.Store

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if dir := os.Getenv(holderDir); dir != "" {
			if err := hold(context.Background(), dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			return 1
		}
		dir, err := os.MkdirTemp("", "etcdstore")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		shared, err = etcdstore.OpenEmbedded(context.Background(), etcdstore.Options{Dir: dir})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer shared.Close()
		return m.Run()
	}())
}

var prefixes atomic.Int64

// fresh returns an empty store within the shared etcd.
func fresh(tb testing.TB) store.Backend {
	return shared.Share(tb.Context(), etcdstore.Options{Prefix: fmt.Sprintf("/test/%d/", prefixes.Add(1))})
}

// open opens an embedded etcd that is closed at the end of the test.
func open(t *testing.T, o etcdstore.Options) *etcdstore.Store {
	t.Helper()
	s, err := etcdstore.OpenEmbedded(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func write(t *testing.T, s store.Backend, key string) int64 {
	t.Helper()
	revision, err := s.Commit(t.Context(), []store.Op{{Do: store.Write, Key: key, Value: []byte("v"), Guard: store.Any}})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func keys(t *testing.T, s store.Backend) string {
	t.Helper()
	var got []string
	if _, err := s.Load(t.Context(), func(item store.Item) error { got = append(got, item.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " ")
}

func TestEmbedded(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Backend { return fresh(t) })
}

// TestRemote runs the suite over a socket.
func TestRemote(t *testing.T) {
	dir := t.TempDir()
	address := url.URL{Scheme: "unix", Path: filepath.Join(dir, "socket")}
	t.Cleanup(listen(t, dir, address).Close)
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Backend {
		s, err := etcdstore.Dial(t.Context(), etcdstore.Options{
			Endpoints: []string{address.String()}, Prefix: fmt.Sprintf("/test/%d/", n.Add(1)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// listen runs an etcd of its own that listens at an address.
func listen(t *testing.T, dir string, address url.URL) *embed.Etcd {
	t.Helper()
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "state")
	c.ListenPeerUrls = nil
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{address}, []url.URL{address}
	c.ClientAutoTLS = address.Scheme == "https"
	c.TickMs, c.ElectionMs = 20, 100
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	<-etcd.Server.ReadyNotify()
	return etcd
}

// TestRemoteByTLS checks that the authorities that are named, and no others,
// are trusted.
func TestRemoteByTLS(t *testing.T) {
	dir := t.TempDir()
	etcd := listen(t, dir, url.URL{Scheme: "https", Host: "127.0.0.1:0"})
	defer etcd.Close()
	o := etcdstore.Options{
		Endpoints: []string{"https://" + etcd.Clients[0].Addr().String()},
		CA:        filepath.Join(dir, "state", "fixtures", "client", "cert.pem"),
	}
	s, err := etcdstore.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write(t, s, "a")
	o.CA = ""
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // etcd is tried again and again
	defer cancel()
	if s, err := etcdstore.Dial(ctx, o); !resource.Is(err, resource.Unavailable) {
		t.Errorf("Dial = %v, %v, want Unavailable for an unknown authority", s, err)
	}
}

func TestRecordsOutliveTheProcess(t *testing.T) {
	o := etcdstore.Options{Dir: filepath.Join(t.TempDir(), "state")}
	first := open(t, o)
	write(t, first, "a")
	last := write(t, first, "b")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, o)
	if got := keys(t, second); got != "a b" {
		t.Errorf("records %q, want a and b", got)
	}
	if revision := write(t, second, "c"); revision <= last {
		t.Errorf("revision %d after %d of the process before", revision, last)
	}
	err := filepath.WalkDir(o.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s is of mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNothingListens(t *testing.T) {
	before := sockets(t)
	o := etcdstore.Options{Dir: t.TempDir()}
	s := open(t, o)
	write(t, s, "a")
	if after := sockets(t); after > before {
		t.Errorf("%d sockets, %d before etcd was opened", after, before)
	}
}

// sockets counts the sockets that this process has.
func sockets(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no list of open files: %v", err)
	}
	n := 0
	for _, f := range files {
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", f.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// TestLeasesOfAKilledProcessEnd has another process hold a lease and kills it.
func TestLeasesOfAKilledProcessEnd(t *testing.T) {
	dir := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderDir+"="+dir)
	holder.Stderr = os.Stderr
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := holder.StdinPipe() // which ends the holder if this process dies
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	var held int64
	_, scanned := fmt.Fscan(out, &held)
	if err := holder.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = holder.Wait() // it was killed
	if scanned != nil {
		t.Fatalf("the holder has no lease: %v", scanned)
	}

	s := open(t, etcdstore.Options{Dir: dir})
	if got := keys(t, s); got != "a" {
		t.Errorf("records %q, want a and no lease", got)
	}
	next, err := s.Acquire(t.Context(), "leader")
	if err != nil || next.Revision <= held {
		t.Errorf("Acquire = %+v, %v, want a later lease than %d", next, err, held)
	}
	next.Release()
}

// holderDir is the variable by which this binary is told to hold a lease of the
// state in a directory, for ever.
const holderDir = "ETCDSTORE_HOLDER_DIR"

func hold(ctx context.Context, dir string) error {
	s, err := etcdstore.OpenEmbedded(ctx, etcdstore.Options{Dir: dir, LeaseTTL: time.Hour})
	if err != nil {
		return err
	}
	if _, err := s.Commit(ctx, []store.Op{{Do: store.Write, Key: "a"}}); err != nil {
		return err
	}
	lease, err := s.Acquire(ctx, "leader")
	if err != nil {
		return err
	}
	fmt.Println(lease.Revision)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestClosingGivesLeasesBack(t *testing.T) {
	o := etcdstore.Options{Prefix: "/test/closing/"}
	first, second := shared.Share(t.Context(), o), shared.Share(t.Context(), o)
	defer second.Close()
	held, err := first.Acquire(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		next, err := second.Acquire(t.Context(), "leader")
		if err != nil || next.Revision <= held.Revision {
			t.Errorf("Acquire = %+v, %v, want a later lease than %d", next, err, held.Revision)
		}
	})
	first.Close()
	<-held.Lost
	wg.Wait()
}

// TestLeaseThatRanOutIsLost has etcd end a lease that its holder still keeps.
func TestLeaseThatRanOutIsLost(t *testing.T) {
	s := shared.Share(t.Context(), etcdstore.Options{Prefix: "/test/lost/", LeaseTTL: time.Second})
	defer s.Close()
	lease, err := s.Acquire(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-lease.Lost
	next, err := s.Acquire(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	lease.Release() // of what is not held any more: nothing to it
	if _, err := s.Commit(t.Context(), []store.Op{{Key: store.LeaseKey("leader"), Guard: store.At(next.Revision)}}); err != nil {
		t.Error(err)
	}
}

func TestHistoryIsCompactedByItself(t *testing.T) {
	s := open(t, etcdstore.Options{Dir: t.TempDir(), CompactEvery: time.Millisecond})
	start := write(t, s, "a")
	for {
		last := write(t, s, "a")
		for batch, err := range s.Watch(t.Context(), start) {
			if errors.Is(err, store.ErrCompacted) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if batch.Revision == last {
				break
			}
		}
	}
}

// records is a log handler that keeps messages.
type records struct {
	slog.Handler

	mu   sync.Mutex
	seen map[string]chan struct{}
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

func (r *records) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for text, found := range r.seen {
		if strings.Contains(rec.Message, text) {
			close(found)
			delete(r.seen, text)
		}
	}
	return nil
}

// TestAFullStoreSaysSo fills a store of a small quota, then opens it with a
// larger one.
func TestAFullStoreSaysSo(t *testing.T) {
	warned := make(chan struct{})
	log := slog.New(&records{Handler: slog.DiscardHandler, seen: map[string]chan struct{}{"getting full": warned}})
	o := etcdstore.Options{Dir: t.TempDir(), Quota: 2 << 20, CompactEvery: time.Millisecond, Log: log}
	s := open(t, o)
	value := make([]byte, 256<<10)
	var err error
	for i := 0; err == nil; i++ {
		_, err = s.Commit(t.Context(), []store.Op{{Do: store.Write, Key: fmt.Sprint(i), Value: value}})
	}
	if e, ok := errors.AsType[*resource.Error](err); !ok || e.Kind != resource.Exhausted || e.Code != "StateStoreFull" {
		t.Errorf("Commit: %v, want StateStoreFull", err)
	}
	<-warned
	s.Close()
	o.Quota = 0
	write(t, open(t, o), "a")
}

// TestEtcdMayBreakDown has etcd ask for the end of the process.
func TestEtcdMayBreakDown(t *testing.T) {
	s := open(t, etcdstore.Options{Dir: t.TempDir()})
	lease, err := s.Acquire(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	s.BreakDown(&os.PathError{Op: "write", Path: "wal", Err: syscall.ENOSPC})
	<-s.Done()
	<-lease.Lost
	_, err = s.Commit(t.Context(), []store.Op{{Do: store.Write, Key: "a"}})
	if e, ok := errors.AsType[*resource.Error](err); !ok || e.Kind != resource.Exhausted || e.Code != "StateStoreFull" {
		t.Errorf("Commit: %v, want StateStoreFull", err)
	}
	for _, err := range s.Watch(t.Context(), 0) {
		if !resource.Is(err, resource.Exhausted) {
			t.Errorf("Watch: %v, want Exhausted", err)
		}
	}
}

func TestBadStateIsRefused(t *testing.T) {
	good := t.TempDir()
	s := open(t, etcdstore.Options{Dir: good})
	for range 50 {
		write(t, s, "a")
	}
	s.Close()
	db := filepath.Join("member", "snap", "db")
	for name, spoil := range map[string]func(t *testing.T, dir string) error{
		"NotADatabase": func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, db), []byte(strings.Repeat("not a database\n", 5000)), 0o600)
		},
		"CutOff": func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, db), 12<<10) },
		"DamagedLog": func(t *testing.T, dir string) error {
			logs, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
			if err != nil || len(logs) == 0 {
				t.Fatalf("logs %v, %v", logs, err)
			}
			return os.WriteFile(logs[0], []byte(strings.Repeat("damaged", 500)), 0o600)
		},
		"NewerVersion": func(_ *testing.T, dir string) error {
			return set(filepath.Join(dir, db), "meta", "storageVersion", "3.99.0")
		},
		"NewerCluster": func(_ *testing.T, dir string) error {
			return set(filepath.Join(dir, db), "cluster", "clusterVersion", "3.99.0")
		},
		"AFile": func(_ *testing.T, dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.WriteFile(dir, nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			if err := spoil(t, dir); err != nil {
				t.Fatal(err)
			}
			s, err := etcdstore.OpenEmbedded(t.Context(), etcdstore.Options{Dir: dir})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !resource.Is(err, resource.Invalid) || !strings.Contains(err.Error(), dir) {
				t.Errorf("OpenEmbedded: %v, want Invalid with the directory", err)
			}
		})
	}
}

// set writes a value into a database file.
func set(file, bucket, key, value string) error {
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(value)) })
}

func TestStateInUseIsRefused(t *testing.T) {
	o := etcdstore.Options{Dir: t.TempDir()}
	open(t, o)
	if s, err := etcdstore.OpenEmbedded(t.Context(), o); !resource.Is(err, resource.Unavailable) {
		t.Errorf("OpenEmbedded = %v, %v, want Unavailable", s, err)
	}
}

func TestDialNeedsAnEtcd(t *testing.T) {
	// A listener that is closed leaves a port on which nobody answers.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		o    etcdstore.Options
		want resource.Kind
	}{
		{"Canceled", ctx, etcdstore.Options{Endpoints: []string{"http://" + l.Addr().String()}}, resource.Canceled},
		{"NoEndpoints", t.Context(), etcdstore.Options{}, resource.Invalid},
		{"NoSuchFile", t.Context(), etcdstore.Options{Endpoints: []string{"https://127.0.0.1"}, CA: "/no/such/file"}, resource.Invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			if s, err := etcdstore.Dial(test.ctx, test.o); !resource.Is(err, test.want) {
				t.Errorf("Dial = %v, %v, want %v", s, err, test.want)
			}
		})
	}
}

func BenchmarkCommit100(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Backend { return fresh(b) })
}
