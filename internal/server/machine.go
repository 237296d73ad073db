package server

import (
	"os"

	"golang.org/x/sys/unix"
)

// machineMemoryMB returns how much memory this machine has, and 0 if it does
// not tell.
func machineMemoryMB() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int(info.Totalram * uint64(info.Unit) >> 20)
}

// isTerminal reports whether a person may be looking at the file.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
