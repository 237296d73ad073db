package server_test

import (
	"net"
	"path/filepath"
	"testing"
)

// TestTheServiceManagerHearsOfTheStartAndTheEnd is the service manager.
func TestTheServiceManagerHearsOfTheStartAndTheEnd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	s := serve(t, configOf(t.TempDir()))
	s.end()
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		b := make([]byte, 100)
		if n, err := l.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("the service manager hears %q, %v, want %s", b[:n], err, want)
		}
	}
}
