package host

import (
	"fmt"
	"sync"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// room is the host's capacity and who holds a part of it.
type room struct {
	vcpus, memory int

	mu         sync.Mutex
	taken      map[vmss.InstanceKey]claim
	usedVCPUs  int
	usedMemory int
}

// claim is what one instance holds.
type claim struct{ vcpus, memory int }

// Room is how full a host is, overcommit included.
type Room struct{ VCPUs, TakenVCPUs, MemoryMB, TakenMemoryMB int }

// Room returns how full the host is.
func (h *Host) Room() Room {
	h.room.mu.Lock()
	defer h.room.mu.Unlock()
	return Room{h.room.vcpus, h.room.usedVCPUs, h.room.memory, h.room.usedMemory}
}

// hold notes a claim, whether or not there is room: the machine is there.
func (r *room) hold(key vmss.InstanceKey, c claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace(key, c)
}

// admit notes a claim if there is room. It fails with Exhausted, in numbers.
func (r *room) admit(key vmss.InstanceKey, c claim) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.taken[key]
	freeVCPUs, freeMemory := r.vcpus-r.usedVCPUs+old.vcpus, r.memory-r.usedMemory+old.memory
	if c.vcpus > freeVCPUs || c.memory > freeMemory {
		return resource.Errorf(resource.Exhausted, "AllocationFailed", "%s",
			fmt.Sprintf("The host has %d of %d vCPU and %d of %d MB free; the instance needs %d vCPU and %d MB. Delete or deallocate instances, or raise the host's capacity or overcommit in the server's config.",
				freeVCPUs, r.vcpus, freeMemory, r.memory, c.vcpus, c.memory))
	}
	r.replace(key, c)
	return nil
}

// release gives the instance's part back.
func (r *room) release(key vmss.InstanceKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace(key, claim{})
}

func (r *room) replace(key vmss.InstanceKey, c claim) {
	old := r.taken[key]
	r.usedVCPUs += c.vcpus - old.vcpus
	r.usedMemory += c.memory - old.memory
	if c == (claim{}) {
		delete(r.taken, key)
		return
	}
	r.taken[key] = c
}
