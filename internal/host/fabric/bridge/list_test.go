package bridge

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestAListThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	tries := 0
	got, err := whole(func() ([]int, error) {
		if tries++; tries < 3 {
			return []int{1}, netlink.ErrDumpInterrupted
		}
		return []int{1, 2}, nil
	})
	if err != nil || len(got) != 2 || tries != 3 {
		t.Errorf("got %v, %v after %d tries", got, err, tries)
	}
	tries = 0
	_, err = whole(func() ([]int, error) { tries++; return nil, netlink.ErrDumpInterrupted })
	if !errors.Is(err, netlink.ErrDumpInterrupted) || tries != listTries {
		t.Errorf("got %v after %d tries", err, tries)
	}
	other := errors.New("not allowed")
	if _, err = whole(func() ([]int, error) { return nil, other }); !errors.Is(err, other) {
		t.Errorf("got %v", err)
	}
}
