package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal: the end of the person at it, and that of
// programs.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo-terminals here: ", err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close(); program.Close() })
	return person, program
}

// TestATerminalIsAsItWasAfterAConsole leaves a console in every way there is.
func TestATerminalIsAsItWasAfterAConsole(t *testing.T) {
	for name, how := range map[string]struct {
		typed  string
		end    func(*websocket.Conn, context.CancelFunc)
		failed bool
	}{
		"by the escape":      {typed: "root\r~."},
		"the machine stops":  {end: func(c *websocket.Conn, _ context.CancelFunc) { c.Close(websocket.StatusNormalClosure, "") }},
		"the server stops":   {end: func(c *websocket.Conn, _ context.CancelFunc) { c.Close(websocket.StatusGoingAway, "the server stops") }, failed: true},
		"the server is gone": {end: func(c *websocket.Conn, _ context.CancelFunc) { c.CloseNow() }, failed: true},
		"by a signal":        {end: func(_ *websocket.Conn, stop context.CancelFunc) { stop() }},
	} {
		t.Run(name, func(t *testing.T) {
			person, program := terminal(t)
			before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			raw := make(chan bool, 1)
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/token") {
					fmt.Fprint(w, `{"access_token":"t","expires_in":60}`)
					return
				}
				c, err := websocket.Accept(w, r, nil)
				if err != nil {
					return
				}
				defer c.CloseNow()
				_ = c.Write(r.Context(), websocket.MessageBinary, []byte("login: "))
				b := make([]byte, 1024)
				for said := ""; !strings.Contains(said, "login: "); { // now the terminal is raw
					n, err := person.Read(b)
					if err != nil {
						return
					}
					said += string(b[:n])
				}
				now, _ := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
				raw <- now.Lflag&unix.ICANON == 0
				_, _ = person.WriteString(how.typed)
				if how.end != nil {
					how.end(c, stop)
				}
				_, _, _ = c.Read(r.Context())
				_, _, _ = c.Read(r.Context())
			}))
			defer web.Close()
			conn, err := (account{Endpoint: web.URL}).connect()
			if err != nil {
				t.Fatal(err)
			}
			c := &call{options: options{Group: "g", Name: "web", InstanceID: []string{"0"}}, conn: conn, in: program, out: program, err: program}
			if _, err := console(ctx, c); (err != nil) != how.failed {
				t.Error(err)
			}
			if !<-raw {
				t.Error("the terminal was not raw")
			}
			after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil || *after != *before {
				t.Errorf("before %v, after %v: %v", before, after, err)
			}
		})
	}
}
