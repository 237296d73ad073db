package bridge

import (
	"runtime"

	"github.com/vishvananda/netns"
)

// inside runs f on a thread that is in the given network namespace. f may change
// the thread's namespace; sockets and files that it opens stay where they were
// opened. f must not start goroutines that rely on the namespace.
func inside(ns netns.NsHandle, f func() error) error {
	return aside(func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		return f()
	})
}

// aside runs f on a thread of its own. If the thread cannot be brought back to
// the namespace it came from, it is never used again: it stays locked to a
// goroutine that ends, and the runtime then ends the thread.
func aside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close() //nolint:errcheck // a handle that was only read
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
