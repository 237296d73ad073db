package qemu

import "testing"

func TestTheTranslationBufferGrowsWithTheMachine(t *testing.T) {
	for memoryMB, want := range map[int]string{
		96: DefaultAccel, 128: DefaultAccel,
		256: "tcg,thread=multi,tb-size=64", 512: "tcg,thread=multi,tb-size=128",
		1 << 10: "tcg,thread=multi,tb-size=256", 64 << 10: "tcg,thread=multi,tb-size=256",
	} {
		if got := translation(DefaultAccel, memoryMB); got != want {
			t.Errorf("%d MB: %s, want %s", memoryMB, got, want)
		}
	}
}

func TestAnAcceleratorThatWasChosenStaysAsItIs(t *testing.T) {
	for _, accel := range []string{"kvm", "tcg", "tcg,thread=single,tb-size=8"} {
		if got := translation(accel, 4096); got != accel {
			t.Errorf("%s became %s", accel, got)
		}
	}
}
