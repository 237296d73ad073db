package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestAServerThatStopsTellsConsoles stops a server while somebody looks at a
// console: it ends, and whoever looks is told why.
func TestAServerThatStopsTellsConsoles(t *testing.T) {
	s := serve(t, configOf(t.TempDir()))
	s.put(web(""))
	console := s.endpoint + s.set() + "/virtualMachines/0/providers/Muster.Fleet/console?api-version=2026-11-01"
	var c *websocket.Conn
	for deadline := time.Now().Add(time.Minute); c == nil; time.Sleep(10 * time.Millisecond) {
		var err error
		c, _, err = websocket.Dial(t.Context(), console, &websocket.DialOptions{HTTPClient: s.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}}})
		if err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer c.CloseNow()
	if _, b, err := c.Read(t.Context()); err != nil || !strings.Contains(string(b), "Linux") {
		t.Errorf("the console shows %q: %v", b, err)
	}
	told := make(chan error, 1)
	go func() {
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				told <- err
				return
			}
		}
	}()
	s.end()
	if err := <-told; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("whoever looked was told %v", err)
	}
	if log := s.log.String(); !strings.Contains(log, "stream closed") || !strings.Contains(log, "the server stops") {
		t.Errorf("the end is not logged:\n%s", log)
	}
}
