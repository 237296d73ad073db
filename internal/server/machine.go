package server

import "golang.org/x/sys/unix"

// machineMemoryMB returns how much memory this machine has, and 0 if it does
// not tell.
func machineMemoryMB() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int(info.Totalram * uint64(info.Unit) >> 20)
}
