package qmp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/host/compute/qemu/qmp"
)

const hello = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`

// request is a command as the peer reads it.
type request struct {
	Execute   string         `json:"execute"`
	Arguments map[string]any `json:"arguments"`
	ID        string         `json:"id"`
}

// peer is the other end of a client: a QEMU that does what the test says.
type peer struct {
	conn net.Conn
	in   *bufio.Scanner
}

// read returns the next command, and false when the client has gone.
func (p *peer) read() (request, bool) {
	var r request
	if !p.in.Scan() {
		return r, false
	}
	return r, json.Unmarshal(p.in.Bytes(), &r) == nil
}

func (p *peer) write(format string, args ...any) {
	fmt.Fprintf(p.conn, format+"\n", args...)
}

// connect returns a greeted client and its peer.
func connect(t *testing.T) (*qmp.Client, *peer) {
	t.Helper()
	ours, theirs := net.Pipe()
	p := &peer{conn: theirs, in: bufio.NewScanner(theirs)}
	go func() {
		p.write(hello)
		r, _ := p.read()
		p.write(`{"return": {}, "id": %q}`, r.ID)
	}()
	c, err := qmp.New(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); theirs.Close() })
	return c, p
}

func TestGreetingTellsTheVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t)
		if got, want := c.Version(), "7.2.22"; got != want {
			t.Errorf("version %q, want %q", got, want)
		}
	})
}

func TestGreetingFromAnotherProtocolIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, first := range []string{"HTTP/1.1 200 OK", `{"return": {}}`, `{"QMP": 7}`} {
			ours, theirs := net.Pipe()
			go func() { fmt.Fprintln(theirs, first); theirs.Close() }()
			if _, err := qmp.New(t.Context(), ours); err == nil {
				t.Errorf("greeting %q was accepted", first)
			}
		}
	})
}

func TestGreetingThatNeverComesEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := qmp.New(ctx, ours); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestAnswersFindTheirCallersInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t)
		go func() {
			var asked []request
			for range 10 {
				r, _ := p.read()
				asked = append(asked, r)
			}
			for _, a := range slices.Backward(asked) {
				p.write(`{"return": {"n": %v}, "id": %q}`, a.Arguments["n"], a.ID)
			}
		}()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				var got struct{ N int }
				if err := c.Execute(t.Context(), "echo", map[string]int{"n": i}, &got); err != nil || got.N != i {
					t.Errorf("call %d: got %d, %v", i, got.N, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestRefusalCarriesClassAndSentence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t)
		go func() {
			r, _ := p.read()
			p.write(`{"id": %q, "error": {"class": "CommandNotFound", "desc": "The command fly has not been found"}}`, r.ID)
		}()
		err := c.Execute(t.Context(), "fly", nil, nil)
		refusal, ok := errors.AsType[*qmp.Error](err)
		if !ok || refusal.Class != "CommandNotFound" || refusal.Desc != "The command fly has not been found" {
			t.Errorf("got %v, want a CommandNotFound error", err)
		}
	})
}

func TestEventsComeBetweenAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t)
		go func() {
			r, _ := p.read()
			p.write(`{"timestamp": {"seconds": 5, "microseconds": 7}, "event": "SHUTDOWN", "data": {"guest": true}}`)
			p.write(`{"return": {}, "id": %q}`, r.ID)
		}()
		if err := c.Execute(t.Context(), "system_powerdown", nil, nil); err != nil {
			t.Fatal(err)
		}
		e := <-c.Events()
		if e.Name != "SHUTDOWN" || !e.Time.Equal(time.Unix(5, 7000)) || string(e.Data) != `{"guest": true}` {
			t.Errorf("got event %+v", e)
		}
	})
}

func TestEventsNobodyReadsDoNotHoldUpAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t)
		go func() {
			r, _ := p.read()
			for range 1000 {
				p.write(`{"event": "RTC_CHANGE"}`)
			}
			p.write(`{"return": {}, "id": %q}`, r.ID)
		}()
		if err := c.Execute(t.Context(), "stop", nil, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestLostConnectionFailsEveryCallAtOnce(t *testing.T) {
	for name, lose := range map[string]func(*peer){
		"closed":    func(p *peer) { p.conn.Close() },
		"malformed": func(p *peer) { p.write("not JSON") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := connect(t)
				start := time.Now()
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						if err := c.Execute(t.Context(), "stop", nil, nil); !errors.Is(err, qmp.ErrClosed) {
							t.Errorf("got %v, want %v", err, qmp.ErrClosed)
						}
					})
				}
				for range 3 {
					p.read()
				}
				lose(p)
				wg.Wait()
				<-c.Done()
				if _, open := <-c.Events(); open || !errors.Is(c.Err(), qmp.ErrClosed) || time.Since(start) != 0 {
					t.Errorf("events open %v, error %v after %v", open, c.Err(), time.Since(start))
				}
				if err := c.Execute(t.Context(), "cont", nil, nil); !errors.Is(err, qmp.ErrClosed) {
					t.Errorf("a later call: got %v, want %v", err, qmp.ErrClosed)
				}
			})
		})
	}
}

func TestCallThatTheCallerGivesUpLeavesTheConnectionUsable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := make(chan string, 1)
		go func() {
			r, _ := p.read()
			late <- r.ID
		}()
		if err := c.Execute(ctx, "slow", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want %v", err, context.DeadlineExceeded)
		}
		go func() {
			p.write(`{"return": {"n": 1}, "id": %q}`, <-late)
			r, _ := p.read()
			p.write(`{"return": {"n": 2}, "id": %q}`, r.ID)
		}()
		var got struct{ N int }
		if err := c.Execute(t.Context(), "fast", nil, &got); err != nil || got.N != 2 {
			t.Errorf("got %d, %v, want 2: the late answer of another call must not be taken", got.N, err)
		}
	})
}

func TestWriteThatStallsEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t) // a peer that never reads
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Execute(ctx, "stop", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if err := c.Execute(t.Context(), "cont", nil, nil); !errors.Is(err, qmp.ErrClosed) {
			t.Errorf("after half a message: got %v, want %v", err, qmp.ErrClosed)
		}
	})
}
