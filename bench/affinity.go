package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// affine keeps every thread of a process on the given processors; threads that
// they start later follow.
func affine(pid int, cpus unix.CPUSet) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		// A thread may have ended since.
		if err := unix.SchedSetaffinity(id, &cpus); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}
