// Package qemu runs virtual machines as QEMU processes of this host, with no
// daemon beside it. Each machine is a directory under the driver's root:
//
//	vms/{id}/vm.json     the record: what was asked for, and how far it is
//	vms/{id}/seed.iso    what the guest learns at first boot
//	vms/{id}/qmp.N.sock  control socket of the N-th process, agent.sock beside it
//	vms/{id}/pid         locked by the process, so that there is never a second one
//	vms/{id}/serial.log  what the guest prints, cut to its end; what is typed goes to serial.sock
//	vms/{id}/stderr.log  QEMU's last words
//	disks/{set}-{instance}/os-{generation}.qcow2, data-{lun}-{generation}.qcow2
//	lease                the highest lease seen
//
// The record is written before anything is done, so a crash anywhere leaves
// something that List reports and that Create or Delete finish. Processes live
// in sessions of their own: they outlive the server, and the next driver on
// the same root adopts them, after making sure that a process is what it was
// started as. What to do next is decided by pure functions in plan.go.
package qemu
