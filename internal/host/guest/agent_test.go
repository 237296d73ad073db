package guest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-vm/muster/internal/host/guest"
	"github.com/muster-vm/muster/internal/resource"
)

// fakeAgent is the guest's end of an agent socket.
type fakeAgent struct {
	stale  string                                           // what the first client finds in the pipe
	answer func(command string, args map[string]any) string // "" answers nothing

	mu    sync.Mutex // held while answering
	dials int
	log   []string // commands other than guest-sync-delimited
}

func (f *fakeAgent) dial(context.Context) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	stale := f.stale
	f.stale = ""
	ours, theirs := net.Pipe()
	go f.serve(theirs, stale)
	return ours, nil
}

func (f *fakeAgent) serve(conn net.Conn, stale string) {
	defer conn.Close()
	out := make(chan string, 100)
	defer close(out)
	go func() {
		for s := range out {
			if _, err := conn.Write([]byte(s)); err != nil {
				conn.Close()
			}
		}
	}()
	out <- stale
	for in := bufio.NewScanner(conn); in.Scan(); {
		var r struct {
			Execute   string
			Arguments map[string]any
		}
		if json.Unmarshal(bytes.TrimPrefix(in.Bytes(), []byte{0xff}), &r) != nil {
			out <- `{"error": {"class": "GenericError", "desc": "JSON parse error"}}` + "\n"
			continue
		}
		if r.Execute == "guest-sync-delimited" {
			out <- fmt.Sprintf("\xff{\"return\": %.0f}\n", r.Arguments["id"])
			continue
		}
		f.mu.Lock()
		f.log = append(f.log, r.Execute)
		s := f.answer(r.Execute, r.Arguments)
		f.mu.Unlock()
		if s != "" {
			out <- s + "\n"
		}
	}
}

// with runs a test in a bubble, against an agent that answers as said.
func with(t *testing.T, f *fakeAgent, test func(*testing.T, *guest.Agent)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := guest.NewAgent(f.dial)
		test(t, a)
		a.Close()
	})
}

func (f *fakeAgent) setAnswer(answer func(string, map[string]any) string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func always(s string) func(string, map[string]any) string {
	return func(string, map[string]any) string { return s }
}

func TestStaleAnswersAreSkipped(t *testing.T) {
	for _, stale := range []string{
		`{"return": {"version": "0.0.0"}}` + "\n",
		`{"return": 17}` + "\n" + `{"retu`,
		strings.Repeat("x", 10000) + "\n",
		"\xff" + `{"return": 4711}` + "\n{}\n",
	} {
		f := &fakeAgent{stale: stale, answer: always(`{"return": {"version": "7.2.22"}}`)}
		with(t, f, func(t *testing.T, a *guest.Agent) {
			if got, err := a.Version(t.Context()); got != "7.2.22" || err != nil {
				t.Errorf("after %.40q: version %q, %v", stale, got, err)
			}
		})
	}
}

func TestConnectionIsKeptBetweenCalls(t *testing.T) {
	f := &fakeAgent{answer: always(`{"return": {}}`)}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := a.Ping(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if f.dials != 1 {
			t.Errorf("dialled %d times, want once", f.dials)
		}
	})
}

func TestSilentAgentIsUnavailableAndAskedAfresh(t *testing.T) {
	f := &fakeAgent{answer: always("")}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		start := time.Now()
		if err := a.Ping(t.Context()); !resource.Is(err, resource.Unavailable) {
			t.Errorf("got %v, want Unavailable", err)
		}
		if took := time.Since(start); took != guest.AgentTimeout {
			t.Errorf("gave up after %v, want %v", took, guest.AgentTimeout)
		}
		f.setAnswer(always(`{"return": {}}`))
		if err := a.Ping(t.Context()); err != nil || f.dials != 2 {
			t.Errorf("the next call: %v after %d dials, want success after 2", err, f.dials)
		}
	})
}

func TestCallerThatWaitsForItsTurnCanGiveUp(t *testing.T) {
	f := &fakeAgent{answer: always("")}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		go a.Ping(t.Context()) //nolint:errcheck // it holds the agent
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := a.Ping(ctx); !resource.Is(err, resource.Unavailable) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want Unavailable after 1s", err, time.Since(start))
		}
	})
}

func TestRefusedCommandIsInvalidWithTheReason(t *testing.T) {
	f := &fakeAgent{answer: always(`{"error": {"class": "GenericError", "desc": "Failed to execute child process"}}`)}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		_, err := a.Exec(t.Context(), guest.Command{Path: "/no/such"})
		if !resource.Is(err, resource.Invalid) || !strings.Contains(err.Error(), "Failed to execute child process") {
			t.Errorf("got %v, want Invalid with the agent's reason", err)
		}
		if f.dials != 1 {
			t.Errorf("a refusal cost the connection: %d dials", f.dials)
		}
	})
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	f := &fakeAgent{answer: always(strings.Repeat("x", 2<<20))}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		if err := a.Ping(t.Context()); !resource.Is(err, resource.Unavailable) {
			t.Errorf("got %v, want Unavailable", err)
		}
	})
}

func TestExecWaitsForTheEndAndReturnsWhatWasLeft(t *testing.T) {
	polls := 0
	var asked map[string]any
	f := &fakeAgent{answer: func(command string, args map[string]any) string {
		if command == "guest-exec" {
			asked = args
			return `{"return": {"pid": 42}}`
		}
		if polls++; polls < 5 || args["pid"] != 42.0 {
			return `{"return": {"exited": false}}`
		}
		return `{"return": {"exited": true, "exitcode": 3, "out-data": "b3V0Cg==", "err-data": "ZXJyCg==", "err-truncated": true}}`
	}}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		got, err := a.Exec(t.Context(), guest.Command{
			Path: "/bin/sh", Args: []string{"-c", "true"}, Env: []string{"A=b"}, Stdin: []byte("in\n"),
		})
		want := guest.Result{Stdout: []byte("out\n"), Stderr: []byte("err\n"), Truncated: true, ExitCode: 3}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		wantArgs := map[string]any{"path": "/bin/sh", "arg": []any{"-c", "true"}, "env": []any{"A=b"},
			"input-data": "aW4K", "capture-output": true}
		if diff := cmp.Diff(wantArgs, asked); diff != "" {
			t.Errorf("arguments (-want +got):\n%s", diff)
		}
	})
}

func TestExecEndsWithTheContext(t *testing.T) {
	f := &fakeAgent{answer: func(command string, _ map[string]any) string {
		if command == "guest-exec" {
			return `{"return": {"pid": 42}}`
		}
		return `{"return": {"exited": false}}`
	}}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := a.Exec(ctx, guest.Command{Path: "/bin/sleep"}); !resource.Is(err, resource.Unavailable) {
			t.Errorf("got %v, want Unavailable", err)
		}
		if n := len(f.log); n > 3700 {
			t.Errorf("%d requests in an hour: polling does not back off", n)
		}
	})
}

func TestShutdownNeedsNoAnswerButHearsARefusal(t *testing.T) {
	f := &fakeAgent{answer: always("")}
	with(t, f, func(t *testing.T, a *guest.Agent) {
		if err := a.Shutdown(t.Context(), guest.PowerDown); err != nil {
			t.Errorf("a shutdown that goes ahead: %v", err)
		}
		f.setAnswer(always(`{"error": {"class": "GenericError", "desc": "no shutdown command"}}`))
		if err := a.Shutdown(t.Context(), guest.Reboot); !resource.Is(err, resource.Invalid) {
			t.Errorf("a refused shutdown: got %v, want Invalid", err)
		}
		f.setAnswer(always(`{"return": {}}`))
		if err := a.Ping(t.Context()); err != nil {
			t.Errorf("a call after the refusal: %v", err)
		}
	})
}

func TestGuestTellsItsNameSystemAndInterfaces(t *testing.T) {
	f := &fakeAgent{answer: func(command string, _ map[string]any) string {
		return map[string]string{
			"guest-get-host-name": `{"return": {"host-name": "web000001"}}`,
			"guest-get-osinfo":    `{"return": {"id": "debian", "name": "Debian GNU/Linux", "version-id": "12", "version": "12 (bookworm)", "kernel-release": "6.1.0"}}`,
			"guest-network-get-interfaces": `{"return": [
				{"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8}]},
				{"name": "eth0", "hardware-address": "02:00:00:00:00:01", "ip-addresses": [
					{"ip-address": "10.0.0.4", "prefix": 24}, {"ip-address": "rubbish", "prefix": 24}, {"ip-address": "10.0.0.5", "prefix": 99}]}]}`,
		}[command]
	}}
	f.answer = oneLine(f.answer)
	with(t, f, func(t *testing.T, a *guest.Agent) {
		if got, err := a.HostName(t.Context()); got != "web000001" || err != nil {
			t.Errorf("host name %q, %v", got, err)
		}
		if got, err := a.OSInfo(t.Context()); got != (guest.OS{Name: "Debian GNU/Linux", Version: "12", Kernel: "6.1.0"}) || err != nil {
			t.Errorf("OS %+v, %v", got, err)
		}
		got, err := a.Interfaces(t.Context())
		want := []guest.Interface{
			{Name: "lo", Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
			{Name: "eth0", MAC: "02:00:00:00:00:01", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.4/24")}},
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// oneLine takes the line breaks out of answers that were written over several.
func oneLine(answer func(string, map[string]any) string) func(string, map[string]any) string {
	return func(command string, args map[string]any) string {
		return strings.ReplaceAll(answer(command, args), "\n", "")
	}
}
