package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/qemu/serial"
	"github.com/muster-vm/muster/internal/resource"
)

// screen is a console with all that it has shown.
type screen struct {
	io.ReadWriteCloser
	mu    sync.Mutex
	shown bytes.Buffer
	ended chan error
}

func (l *lab) look(id compute.VMID) *screen {
	l.t.Helper()
	c, err := l.d.Console(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	s := &screen{ReadWriteCloser: c, ended: make(chan error, 1)}
	l.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := c.Read(b)
			s.mu.Lock()
			s.shown.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				s.ended <- err
				return
			}
		}
	}()
	return s
}

// text is what is on the screen once all that there is has been shown.
func (s *screen) text() string {
	time.Sleep(2 * serial.Poll)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

func TestConsolesShowThePastAndWhatComes(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		l.create(labSpec(0))
		e := l.process(id)
		e.print("boot\n")
		first := l.look(id)
		e.print("one\n")
		second := l.look(id)
		e.print("two\n")
		if _, err := first.Write([]byte("typed\n")); err != nil {
			t.Fatal(err)
		}
		if want := "boot\none\ntwo\ntyped\n"; first.text() != want || second.text() != want {
			t.Errorf("they show %q and %q, want %q", first.text(), second.text(), want)
		}
		first.Close()
		if err := <-first.ended; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a closed console ends with %v", err)
		}
		if _, err := second.Write([]byte("still\n")); err != nil {
			t.Fatal(err)
		}
		if got := second.text(); !strings.HasSuffix(got, "typed\nstill\n") {
			t.Errorf("after the other was closed it shows %q", got)
		}
		second.Close()
		third := l.look(id) // connects anew
		if _, err := third.Write([]byte("again\n")); err != nil {
			t.Fatal(err)
		}
		if got := third.text(); !strings.HasSuffix(got, "still\nagain\n") {
			t.Errorf("the third shows %q", got)
		}
		e.print("last words")
		e.end("")
		if err := <-third.ended; !errors.Is(err, io.EOF) || !strings.HasSuffix(third.shown.String(), "last words") {
			t.Errorf("it ended with %v, showing %q", err, third.shown.String())
		}
	})
}

func TestAConsoleShowsNoMoreThanTheEndOfALongPast(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.create(labSpec(0))
		l.process(labSpec(0).ID).print(strings.Repeat("x", serial.Past) + strings.Repeat("y", serial.Past))
		if got := l.look(labSpec(0).ID).text(); got != strings.Repeat("y", serial.Past) {
			t.Errorf("it shows %d bytes, of which %d are of the beginning", len(got), strings.Count(got, "x"))
		}
	})
}

func TestAConsoleNeedsAMachineThatRunsAndHasOne(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		refused := func(what string, want resource.Kind) {
			t.Helper()
			if _, err := l.d.Console(t.Context(), id); !resource.Is(err, want) {
				t.Errorf("%s: %v, want %s", what, err, want)
			}
		}
		refused("no machine", resource.NotFound)
		l.create(labSpec(0))
		l.process(id).consoles = nil
		refused("a process of an earlier version", resource.Conflict)
		l.power(id, compute.Power{Want: compute.Stopped})
		l.await(id, compute.Stopped)
		refused("a stopped machine", resource.Conflict)
	})
}

func TestASerialLogIsCutToItsTailWhateverTheGuestDoes(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		l.boot = time.Hour // the agent never answers
		if err := l.d.Create(t.Context(), lease, labSpec(0)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		path, err := l.d.SerialLog(id)
		if err != nil {
			t.Fatal(err)
		}
		long := bytes.Repeat([]byte("0123456789abcde\n"), (serial.Most+serial.Tail)/16)
		copy(long[len(long)-5:], "last\n")
		if err := os.WriteFile(path, long, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(serialCheck + time.Second)
		synctest.Wait()
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, long[len(long)-serial.Tail:]) {
			t.Errorf("%d bytes are left (%v), want the last %d", len(got), err, serial.Tail)
		}
		if err := os.WriteFile(path, long[:serial.Most], 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * serialCheck)
		synctest.Wait()
		if info, err := os.Stat(path); err != nil || info.Size() != serial.Most {
			t.Errorf("a log at the limit was cut: %v, %v", info, err)
		}
	})
}

func TestAConsoleGoesOnOverACutOfTheLog(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		id := labSpec(0).ID
		l.create(labSpec(0))
		e := l.process(id)
		s := l.look(id)
		var want strings.Builder
		for i := range 40 {
			line := fmt.Sprintf("%d %s\n", i, strings.Repeat("z", 1<<18))
			want.WriteString(line)
			e.print(line)
			time.Sleep(time.Second)
		}
		if got := s.text(); got != want.String() {
			t.Errorf("%d bytes were shown of %d", len(got), want.Len())
		}
		if info, err := os.Stat(l.path(id, serialFile)); err != nil || info.Size() > serial.Most {
			t.Errorf("the log was not cut: %v, %v", info, err)
		}
	})
}
