package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// farm is a world in memory: what of a host outlives its driver. Disks are
// small files, each with a content of its own, so that it shows when one was
// made anew; processes are emulators. Make it inside a bubble.
type farm struct {
	t     *testing.T
	boot  time.Duration           // until a guest's agent answers
	stop  time.Duration           // that a guest takes to shut down
	crash func(step string) error // as the driver's, for crashes inside of an effect; nil for none

	mu      sync.Mutex
	all     []*emulator      // every process that there ever was
	disks   int              // that were made
	refusal error            // that start fails with
	sizes   map[string]int64 // of disks that are larger than 1 GB, in bytes
}

var _ world = (*farm)(nil)

func newFarm(t *testing.T) *farm {
	f := &farm{t: t, boot: 3 * time.Second, stop: 2 * time.Second}
	t.Cleanup(func() {
		for _, e := range f.alive() {
			e.end("the farm is closed")
		}
	})
	return f
}

// makeDisk implements world. A crash in the middle leaves half a file.
func (f *farm) makeDisk(_ context.Context, d newDisk) error {
	half := d.path + ".new"
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		return err
	}
	if f.crash != nil {
		if err := f.crash("half a disk"); err != nil {
			return err
		}
	}
	f.setSize(d.path, max(int64(d.sizeGB)<<30, d.bytes))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disks++
	if err := os.WriteFile(half, fmt.Appendf(nil, "disk %d", f.disks), 0o600); err != nil {
		return err
	}
	return os.Rename(half, d.path)
}

// start implements world. Like QEMU, it leaves files behind that its end does
// not remove.
func (f *farm) start(dir string, run int64, argv []string, _ []*os.File) (process, error) {
	f.mu.Lock()
	refusal := f.refusal
	f.mu.Unlock()
	if refusal != nil {
		return nil, refusal
	}
	if other := f.find(dir); other != nil {
		f.t.Errorf("run %d was started in %s beside run %d", run, dir, other.number)
	}
	for _, stale := range []string{qmpPrefix, agentSocket, serialSocket} {
		if err := removePrefixed(dir, stale, ""); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{qmpSocket(run), agentSocket, serialSocket, pidFile, serialFile, stderrFile} {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		file.Close()
	}
	blocks, why := f.blocksOf(dir, argv)
	e := &emulator{blocks: blocks, farm: f, dir: dir, number: run, began: time.Now(), ended: make(chan struct{}), control: make(chan struct{}, 1), serial: make(chan struct{}, 1), consoles: make(chan struct{}, 1)}
	f.mu.Lock()
	f.all = append(f.all, e)
	f.mu.Unlock()
	e.bootUp()
	if why != "" {
		e.end(why)
	}
	return held{e}, nil
}

// processes implements world.
func (f *farm) processes(vms string) (map[string]process, error) {
	found := map[string]process{}
	for _, e := range f.alive() {
		if filepath.Dir(e.dir) == vms {
			found[filepath.Base(e.dir)] = held{e}
		}
	}
	return found, nil
}

// dial implements world.
func (f *farm) dial(_ context.Context, dir, socket string) (net.Conn, error) {
	e := f.find(dir)
	if e == nil {
		return nil, fs.ErrNotExist
	}
	ours, theirs := net.Pipe()
	switch socket {
	case agentSocket:
		go e.serve(theirs, e.serial, e.agent)
	case serialSocket:
		if e.consoles == nil {
			return nil, fs.ErrNotExist
		}
		go e.console(theirs)
	case qmpSocket(e.number):
		go e.serve(theirs, e.control, e.qmp)
	default:
		return nil, fs.ErrNotExist
	}
	return ours, nil
}

// find returns the process that runs in a directory, or nil.
func (f *farm) find(dir string) *emulator {
	for _, e := range f.alive() {
		if e.dir == dir {
			return e
		}
	}
	return nil
}

func (f *farm) alive() []*emulator {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.all), func(e *emulator) bool {
		select {
		case <-e.ended:
			return true
		default:
			return false
		}
	})
}

// started returns how many processes there ever were.
func (f *farm) started() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all)
}

func (f *farm) refuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusal = err
}

// held is a driver's hold on a process.
type held struct{ e *emulator }

func (h held) Run() int64            { return h.e.number }
func (h held) Kill() error           { h.e.end(""); return nil }
func (h held) Release()              {}
func (h held) Done() <-chan struct{} { return h.e.ended }

func (h held) Worked() (time.Duration, error) {
	return time.Since(h.e.began) / 4, nil // a quarter of one processor
}

func (h held) Reason() string {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	return h.e.why
}

// emulator is a QEMU process with a guest in it. It serves one client of each
// socket at a time; others wait.
type emulator struct {
	farm            *farm
	dir             string
	number          int64
	began           time.Time
	ended           chan struct{}
	control, serial chan struct{} // hold one token each: who has it is the socket's client

	mu    sync.Mutex
	over  bool
	why   string        // it ended by itself, in QEMU's words
	deaf  bool          // the guest heeds no request to shut down
	going bool          // it is shutting down
	boots int           // of the guest
	up    chan struct{} // closed once the guest's agent runs
	timer *time.Timer   // of the boot or the shutdown
	wires []*wire

	blocks

	consoles chan struct{} // a token for who is connected to the serial port; nil for a process without such a socket
	viewer   net.Conn      // who is
}

// bootUp has the guest boot.
func (e *emulator) bootUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.boots++
	up := make(chan struct{})
	e.up = up
	e.timer = time.AfterFunc(e.farm.boot, func() { close(up) })
}

// reboot is what a guest does that restarts itself.
func (e *emulator) reboot() {
	e.event("RESET", `{"guest": true, "reason": "guest-reset"}`)
	e.mu.Lock()
	e.timer.Stop()
	e.mu.Unlock()
	e.bootUp()
}

// shutDown is what a guest does when it is asked to, or wants to. One that is
// not up does not hear it.
func (e *emulator) shutDown() {
	up := e.agentUp()
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-up:
	default:
		return
	}
	if e.deaf || e.going || e.over {
		return
	}
	e.going = true
	e.timer = time.AfterFunc(e.farm.stop, func() {
		e.event("SHUTDOWN", `{"guest": true, "reason": "guest-shutdown"}`)
		e.end("")
	})
}

func (e *emulator) agentUp() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.up
}

// end is the end of the process. What was said to its clients reaches them.
func (e *emulator) end(why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	e.over, e.why = true, why
	e.timer.Stop()
	for _, w := range e.wires {
		w.hangUp()
	}
	close(e.ended)
}

func (e *emulator) setDeaf(deaf bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaf = deaf
}

// bootID differs in every boot of every guest.
func (e *emulator) bootID() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("%s run %d boot %d", filepath.Base(e.dir), e.number, e.boots)
}

// event tells the clients of the control socket.
func (e *emulator) event(name, data string) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.wires {
		if w.events {
			w.say(fmt.Sprintf(`{"event": %q, "data": %s, "timestamp": {"seconds": %d, "microseconds": 0}}`, name, data, now.Unix()))
		}
	}
}

// serve talks to one client once it is its turn.
func (e *emulator) serve(conn net.Conn, turn chan struct{}, talk func(*wire)) {
	defer conn.Close()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-e.ended:
		return
	}
	w := &wire{conn: conn, out: make(chan string, 1000)}
	e.mu.Lock()
	over := e.over
	e.wires = append(e.wires, w)
	e.mu.Unlock()
	if over {
		return
	}
	var writer sync.WaitGroup
	writer.Go(w.write)
	talk(w)
	w.hangUp()
	writer.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wires = slices.DeleteFunc(e.wires, func(o *wire) bool { return o == w })
}

// request is a command of either protocol.
type request struct {
	Execute   string
	Arguments map[string]any
	ID        string
}

// qmp speaks the protocol of the control socket.
func (e *emulator) qmp(w *wire) {
	w.say(`{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`)
	for r := range w.requests() {
		answer := "{}"
		switch r.Execute {
		case "qmp_capabilities":
			e.mu.Lock()
			w.events = true
			e.mu.Unlock()
		case "query-status":
			answer = `{"status": "running", "running": true}`
		case "query-blockstats":
			n := int64(time.Since(e.began).Seconds())
			answer = fmt.Sprintf(`[{"qdev": "os", "stats": {"rd_bytes": %d, "wr_bytes": %d, "rd_operations": %d, "wr_operations": 1}}, {"qdev": "seed", "stats": {}}]`, 4096*n, 512*n, n)
		case "system_powerdown":
			e.shutDown()
		case "quit":
			defer e.end("")
		default:
			var refused string
			if answer, refused = e.block(r); refused != "" {
				w.say(fmt.Sprintf(`{"error": {"class": "GenericError", "desc": %q}, "id": %q}`, refused, r.ID))
				continue
			}
		}
		w.say(fmt.Sprintf(`{"return": %s, "id": %q}`, answer, r.ID))
	}
}

// agent speaks the guest agent's protocol. What is sent before the agent runs
// waits in the socket.
func (e *emulator) agent(w *wire) {
	for r := range w.requests() {
		select {
		case <-e.agentUp():
		case <-e.ended:
			return
		}
		switch r.Execute {
		case "guest-sync-delimited":
			w.say(fmt.Sprintf("\xff{\"return\": %.0f}", r.Arguments["id"]))
		case "guest-ping":
			w.say(`{"return": {}}`)
		case "guest-info":
			w.say(`{"return": {"version": "7.2.22"}}`)
		case "guest-get-osinfo":
			w.say(`{"return": {"id": "tiny", "name": "Tiny", "version-id": "1"}}`)
		case "guest-file-open":
			w.say(`{"return": 1000}`)
		case "guest-file-read":
			w.say(fmt.Sprintf(`{"return": {"count": 1, "eof": true, "buf-b64": %q}}`, base64.StdEncoding.EncodeToString([]byte("MemTotal: 90000 kB\nMemAvailable:   62140 kB\n"))))
		case "guest-file-close":
			w.say(`{"return": {}}`)
		case "guest-shutdown":
			e.shutDown() // it is not answered
		default:
			w.say(fmt.Sprintf(`{"error": {"class": "CommandNotFound", "desc": "The command %s has not been found"}}`, r.Execute))
		}
	}
}

// wire is the emulator's end of a connection.
type wire struct {
	conn   net.Conn
	events bool // the client has greeted; the emulator's mutex guards it

	mu   sync.Mutex
	out  chan string
	gone bool
}

func (w *wire) say(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone {
		w.out <- line
	}
}

// hangUp ends the connection once all was said.
func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone {
		w.gone = true
		close(w.out)
	}
}

func (w *wire) write() {
	for line := range w.out {
		if _, err := w.conn.Write([]byte(line + "\n")); err != nil {
			w.conn.Close()
		}
	}
	w.conn.Close()
}

// requests yields what the client asks until it hangs up.
func (w *wire) requests() func(yield func(request) bool) {
	return func(yield func(request) bool) {
		for in := bufio.NewScanner(w.conn); in.Scan(); {
			var r request
			if json.Unmarshal(bytes.TrimPrefix(in.Bytes(), []byte{0xff}), &r) == nil && !yield(r) {
				return
			}
		}
	}
}

// console echoes what is typed.
func (e *emulator) console(conn net.Conn) {
	defer conn.Close()
	select {
	case e.consoles <- struct{}{}:
		defer func() { <-e.consoles }()
	case <-e.ended:
		return
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-e.ended:
			conn.Close()
		case <-stop:
		}
	}()
	e.mu.Lock()
	e.viewer = conn
	e.mu.Unlock()
	b := make([]byte, 64)
	for {
		n, err := conn.Read(b)
		if err != nil {
			e.mu.Lock()
			e.viewer = nil
			e.mu.Unlock()
			return
		}
		e.print(string(b[:n]))
	}
}

// print is what the guest does to its serial port. As with QEMU, who is connected
// hears of it before it is in the file.
func (e *emulator) print(text string) {
	e.mu.Lock()
	viewer := e.viewer
	e.mu.Unlock()
	if viewer != nil {
		viewer.Write([]byte(text)) //nolint:errcheck // the viewer may have gone
	}
	f, err := os.OpenFile(filepath.Join(e.dir, serialFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		e.farm.t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		e.farm.t.Error(err)
	}
}
