package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-vm/muster/internal/backup"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store/etcdstore"
)

// The control socket is how commands on this machine reach the server of a state
// directory. It is no part of the API: whoever can open it can read every file
// of that directory anyway (docs/adr/0010).
const (
	controlDir  = "control"
	controlFile = "muster.sock"
)

// listenControl opens the control socket. The caller has the state's lock, so
// one that is there already is nobody's. Its directory is closed to others
// before the socket is in it.
func listenControl(ctx context.Context, state string) (net.Listener, error) {
	dir := filepath.Join(state, controlDir)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	l, err := throughDir(dir, func(path string) (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(ctx, "unix", path)
	})
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the short path is not valid then
	return l, os.Chmod(filepath.Join(dir, controlFile), 0o600)
}

// throughDir calls f with a short path of the control socket: the kernel takes
// 107 bytes, and a directory that is open has a name of its own.
func throughDir[T any](dir string, f func(path string) (T, error)) (none T, err error) {
	open, err := os.Open(dir)
	if err != nil {
		return none, err
	}
	defer open.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", open.Fd(), controlFile))
}

// serveControl answers on the control socket until it is closed.
func serveControl(ctx context.Context, l net.Listener, parts Parts) func() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /backup", func(w http.ResponseWriter, r *http.Request) {
		from := backup.Source{Backend: parts.Backend, State: parts.Config.State, Muster: parts.Config.version, Now: time.Now()}
		if err := backup.Write(r.Context(), w, from); err != nil {
			parts.Log.WarnContext(r.Context(), "a backup ended early", "err", err)
			panic(http.ErrAbortHandler) // the other end sees that it is cut off
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		b, ok := parts.Backend.(interface {
			Status(ctx context.Context) (etcdstore.Status, error)
		})
		if !ok {
			http.NotFound(w, r)
			return
		}
		status, err := b.Status(r.Context())
		if err != nil {
			http.Error(w, Explain(err), http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(status) // the caller may have gone; there is nobody to tell
	})
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			parts.Log.WarnContext(ctx, "the control socket is closed", "err", err)
		}
	}()
	return func() {
		_ = web.Close() // what is under way is cut
		<-ended
		_ = os.RemoveAll(filepath.Join(parts.Config.State, controlDir)) // the next start removes it, too
	}
}

// askControl makes a request of the server of a state directory. NotFound if
// none listens there.
func askControl(ctx context.Context, state, path string) (*http.Response, error) {
	dir := filepath.Join(state, controlDir)
	conn, err := throughDir(dir, func(path string) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) })
	if err != nil {
		return nil, resource.Errorf(resource.NotFound, "", "No server answers in %s.", dir).Because(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://muster"+path, nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return client.Do(r)
}
