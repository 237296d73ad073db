package qmp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrTooLong is the answer to a line beyond the limit. The stream is out of
// step after it: close it.
var ErrTooLong = errors.New("qmp: line too long")

// Lines reads a stream line by line. It never holds more of a line than the
// limit it is given, because the peer may be hostile.
type Lines struct{ r *bufio.Reader }

// NewLines returns a reader of the lines in r.
func NewLines(r io.Reader) *Lines { return &Lines{r: bufio.NewReaderSize(r, 4096)} }

// Next returns the next line that is not blank, without the white space around
// it. A last line without its newline is io.ErrUnexpectedEOF: it may be half a
// message. ErrTooLong if the line has more than limit bytes.
func (l *Lines) Next(limit int) ([]byte, error) {
	for {
		line, err := l.raw(limit)
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

func (l *Lines) raw(limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLong, limit)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
