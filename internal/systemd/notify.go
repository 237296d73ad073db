// Package systemd tells a service manager how a server is.
package systemd

import (
	"net"
	"os"
	"strings"
)

// The states that a service manager is told of.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Notify tells the service manager that started the server, if one did, what
// state it is in (sd_notify(3)), so that `systemctl start` returns when the API
// answers, and not before.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if name, abstract := strings.CutPrefix(path, "@"); abstract {
		path = "\x00" + name
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // what was written has arrived
	_, err = conn.Write([]byte(state))
	return err
}
