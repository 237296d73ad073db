package qmp_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/compute/qemu/qmp"
)

const limit = 64

// readAll returns the lines of r and the error that ended it.
func readAll(r io.Reader) ([]string, error) {
	var got []string
	lines := qmp.NewLines(r)
	for {
		line, err := lines.Next(limit)
		if err != nil {
			return got, err
		}
		got = append(got, string(line))
	}
}

func TestLinesEndWhereTheStreamDoes(t *testing.T) {
	long := strings.Repeat("x", limit)
	for _, tt := range []struct {
		in      string
		want    []string
		wantErr error
	}{
		{"", nil, io.EOF},
		{"{}\n[]\r\n", []string{"{}", "[]"}, io.EOF},
		{"\n \r\n{}\n", []string{"{}"}, io.EOF},
		{"{}\n{\"half", []string{"{}"}, io.ErrUnexpectedEOF},
		{"{}\n" + long[1:] + "\n", []string{"{}", long[1:]}, io.EOF},
		{"{}\n" + long + "\n", []string{"{}"}, qmp.ErrTooLong},
		{long + long, nil, qmp.ErrTooLong},
	} {
		got, err := readAll(strings.NewReader(tt.in))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("lines of %q (-want +got):\n%s", tt.in, diff)
		}
		if !errors.Is(err, tt.wantErr) {
			t.Errorf("lines of %q end with %v, want %v", tt.in, err, tt.wantErr)
		}
	}
}

// FuzzFraming states that framing depends on the bytes alone, not on how they
// arrive; that no line is over the limit; and that no text is lost or made up.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("{\"return\": {}}\r\n{\"event\": \"STOP\"}\n"))
	f.Add([]byte("\n\n \xff{}\n{"))
	f.Add(bytes.Repeat([]byte("x"), 5000))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, wholeErr := readAll(bytes.NewReader(in))
		bytewise, bytewiseErr := readAll(iotest.OneByteReader(bytes.NewReader(in)))
		if !slices.Equal(whole, bytewise) || wholeErr.Error() != bytewiseErr.Error() {
			t.Fatalf("%.200q: framing depends on chunks: %v, %v", in, wholeErr, bytewiseErr)
		}
		var want []string
		for raw := range bytes.SplitSeq(in, []byte("\n")) {
			if text := bytes.TrimSpace(raw); len(text) > 0 {
				want = append(want, string(text))
			}
		}
		if !errors.Is(wholeErr, io.EOF) {
			want = want[:min(len(want), len(whole))]
		}
		if !slices.Equal(want, whole) {
			t.Fatalf("%.200q: got lines %.200q, want %.200q", in, whole, want)
		}
		for _, line := range whole {
			if len(line) >= limit {
				t.Fatalf("a line of %d bytes passed the limit of %d", len(line), limit)
			}
		}
	})
}
