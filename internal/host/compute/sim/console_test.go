package sim_test

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/compute/sim"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/resource"
)

func TestAConsoleShowsTheBootAndAnswersUntilTheMachineStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := sim.New(sim.Options{Boot: population.Boot{Base: 20 * time.Second}})
		defer d.Close()
		id := spec(0).ID
		if _, err := d.Console(t.Context(), id); !resource.Is(err, resource.NotFound) {
			t.Errorf("without a machine: %v", err)
		}
		if err := d.Create(t.Context(), compute.Fence{}, spec(0)); err != nil {
			t.Fatal(err)
		}
		first, err := d.Console(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(first)
		expect := func(end string) {
			t.Helper()
			var got strings.Builder
			for !strings.HasSuffix(got.String(), end) {
				b, err := in.ReadByte()
				if err != nil {
					t.Fatalf("%v after %q, before %q", err, got.String(), end)
				}
				got.WriteByte(b)
			}
		}
		expect("Linux version 1-simulated\r\n")
		expect("web_0 login: ")
		if _, err := first.Write([]byte("root\r")); err != nil {
			t.Fatal(err)
		}
		expect("root\r\nLogin incorrect\r\nweb_0 login: ")
		second, err := d.Console(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(second.Close(), second.Close()); err != nil {
			t.Error(err)
		}
		if _, err := second.Read(make([]byte, 9)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a closed console reads %v", err)
		}
		if err := d.Power(t.Context(), compute.Fence{}, id, compute.Power{Want: compute.Stopped}); err != nil {
			t.Fatal(err)
		}
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("when the machine has stopped the console ends with %v", err)
		}
		if _, err := d.Console(t.Context(), id); !resource.Is(err, resource.Conflict) {
			t.Errorf("of a stopped machine: %v", err)
		}
	})
}
