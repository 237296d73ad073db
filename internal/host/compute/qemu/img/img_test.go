package img

import (
	"io"
	"slices"
	"testing"
)

func TestProgressIsReadHoweverItIsCut(t *testing.T) {
	var got []float64
	p := &percents{tell: func(percent float64) { got = append(got, percent) }}
	for _, part := range []string{"    (0.00/100%)\r    (12", ".50/100%)\r", "nonsense\r    (100.00/100%)\r\n"} {
		if _, err := io.WriteString(p, part); err != nil {
			t.Fatal(err)
		}
	}
	if want := []float64{0, 12.5, 100}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAnImageThatRefersToAnotherFileIsRefused(t *testing.T) {
	for info, whole := range map[string]bool{
		`{"virtual-size": 7}`: true,
		`{"virtual-size": 7, "backing-filename": "/etc/shadow"}`:               false,
		`{"virtual-size": 7, "format-specific": {"data": {"data-file": "x"}}}`: false,
		`nonsense`: false,
	} {
		if size, err := Whole([]byte(info)); (err == nil) != whole || whole && size != 7 {
			t.Errorf("%s: %d, %v", info, size, err)
		}
	}
}
