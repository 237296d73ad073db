package host

import (
	"context"
	"io"
	"net"

	"github.com/muster-vm/muster/internal/host/compute"
	"github.com/muster-vm/muster/internal/host/fabric"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Console opens the serial console of the machine that a row of this host has.
// Conflict if there is none that runs.
func (h *Host) Console(ctx context.Context, set vmss.UID, row vmss.Instance) (io.ReadWriteCloser, error) {
	driver, ok := h.Driver.(compute.Console)
	if !ok {
		return nil, resource.Errorf(resource.Unavailable, "SerialConsoleNotAvailable", "Host %s offers no serial consoles.", h.Name)
	}
	c, err := driver.Console(ctx, vmid(set, row))
	if resource.Is(err, resource.NotFound) {
		return nil, resource.Errorf(resource.Conflict, "OperationNotAllowed", "Instance %s has no virtual machine at the moment: it is being made, or made anew. Try again.", row.ID).Because(err)
	}
	return c, err
}

// Dial connects to a TCP port of the machine that a row of this host has, at the
// address of its first network card.
func (h *Host) Dial(ctx context.Context, set vmss.UID, row vmss.Instance, tcp uint16) (net.Conn, error) {
	network, ok := h.Fabric.(fabric.Dialer)
	if !ok {
		return nil, resource.Errorf(resource.Conflict, "SimulatedNetwork",
			"Instance %s is simulated: it has no network, and nothing listens on its ports. Its serial console can be seen.", row.ID)
	}
	c, err := network.Dial(ctx, vmss.PortName(set, row.ID, 0), tcp)
	if resource.Is(err, resource.NotFound) {
		return nil, resource.Errorf(resource.Conflict, "OperationNotAllowed", "Instance %s has no address at the moment: it is being made, or made anew. Try again.", row.ID).Because(err)
	}
	return c, err
}
