package metrics

import "testing"

func TestHoursOfEqualMinutesTakeTheRoomOfOne(t *testing.T) {
	var m minutes
	for number := range int32(600) {
		for range 6 {
			m.add(number, 100)
		}
	}
	if len(m.runs) != 1 || len(m.points()) != 121 {
		t.Errorf("%d runs, %d points", len(m.runs), len(m.points()))
	}
	for number := int32(600); number < 1200; number++ {
		m.add(number, float64(number))
	}
	if len(m.runs) > 121 || len(m.points()) != 121 {
		t.Errorf("%d runs, %d points", len(m.runs), len(m.points()))
	}
}
