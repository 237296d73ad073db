package compute

import (
	"encoding/base64"
	"strconv"

	"github.com/muster-vm/muster/internal/arm/wire"
)

// Instances are written by appending: a page of a hundred with their views is
// asked for every few seconds by everyone who watches a set.

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// appendText appends a member that is a string. name comes with all that
// stands before the value: `,"code":`.
func appendText(b []byte, name, value string) []byte {
	return wire.AppendString(append(b, name...), value)
}

// appendTextIf is appendText for members that are left out when empty.
func appendTextIf(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(b, name, value)
}

func encodeBlob(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
