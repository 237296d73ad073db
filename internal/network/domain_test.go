package network_test

import (
	"testing"

	"github.com/muster-vm/muster/internal/network"
)

func TestDomainIsTheFirstDigitsOfTheUID(t *testing.T) {
	for uid, want := range map[network.UID]string{
		"6f1f3cf0-3f2b-4c5e-9d0f-000000000001": "6f1f3cf03f2b.internal.muster",
		"6F1F3CF0-3F2B-4C5E-9D0F-000000000001": "6f1f3cf03f2b.internal.muster",
	} {
		if got := network.Domain(uid); got != want {
			t.Errorf("%s: got %s, want %s", uid, got, want)
		}
	}
}
