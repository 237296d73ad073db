package server

import (
	"net"
	"os"
	"strings"
)

// The states that a service manager is told of.
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
)

// notify tells the service manager that started the server, if one did, what
// state it is in (sd_notify(3)), so that `systemctl start` returns when the API
// answers, and not before.
func notify(state string) error {
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
