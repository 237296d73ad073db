package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/muster-vm/muster/internal/resource"
)

// Limits of what is read.
const (
	MaxBytes = 4 << 20 // as Azure Resource Manager
	MaxDepth = 64
)

// ParseJSON reads one JSON value and nothing after it: objects become
// map[string]any, arrays []any, numbers json.Number. Stricter than
// encoding/json, it refuses members that are given twice, bytes that are not
// UTF-8, and nesting deeper than MaxDepth. Its errors are Invalid with code
// InvalidRequestContent and say line and column.
func ParseJSON(raw []byte) (any, error) {
	if len(raw) > MaxBytes {
		return nil, resource.Errorf(resource.Invalid, "RequestContentTooLarge", "The request body is larger than %d bytes.", MaxBytes)
	}
	if at := firstInvalidUTF8(raw); at >= 0 {
		return nil, malformed(raw, int64(at), "the bytes are not UTF-8")
	}
	r := reader{raw: raw, dec: json.NewDecoder(bytes.NewReader(raw))}
	r.dec.UseNumber()
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed(raw, r.dec.InputOffset(), "there is something after the end of the JSON value")
	}
	return v, nil
}

type reader struct {
	raw []byte
	dec *json.Decoder
}

func (r *reader) value(depth int) (any, error) {
	tok, err := r.token()
	if err != nil {
		return nil, err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth >= MaxDepth {
		return nil, malformed(r.raw, r.dec.InputOffset(), "objects and arrays are nested too deep")
	}
	if open == '{' {
		return r.object(depth)
	}
	return r.array(depth)
}

func (r *reader) object(depth int) (any, error) {
	m := map[string]any{}
	for r.dec.More() {
		tok, err := r.token()
		if err != nil {
			return nil, err
		}
		name, ok := tok.(string)
		if !ok {
			return nil, malformed(r.raw, r.dec.InputOffset(), "a member's name must be a string")
		}
		if _, twice := m[name]; twice {
			return nil, malformed(r.raw, r.dec.InputOffset(), "a member of the same name came before")
		}
		if m[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := r.token()
	return m, err
}

func (r *reader) array(depth int) (any, error) {
	list := []any{}
	for r.dec.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.token()
	return list, err
}

func (r *reader) token() (json.Token, error) {
	tok, err := r.dec.Token()
	if err == nil {
		return tok, nil
	}
	// The decoder counts from its last token; a scan of the whole knows the place.
	syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(r.raw, new(json.RawMessage)))
	if !ok || syntax.Offset >= int64(len(r.raw)) && strings.HasPrefix(syntax.Error(), "unexpected end") {
		return nil, malformed(r.raw, int64(len(r.raw)), "the JSON value is not complete")
	}
	return nil, malformed(r.raw, syntax.Offset-1, syntax.Error())
}

// malformed says where raw stops to be JSON, in lines and columns from 1. A
// column counts characters, and never shows what is there.
func malformed(raw []byte, offset int64, why string) error {
	before := raw[:min(max(offset, 0), int64(len(raw)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return resource.Errorf(resource.Invalid, InvalidRequestContent,
		"The request body is not valid JSON at line %d, column %d: %s.", line, column, why)
}

func firstInvalidUTF8(raw []byte) int {
	if utf8.Valid(raw) {
		return -1
	}
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
