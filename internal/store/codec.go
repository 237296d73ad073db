package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unique"
)

// codec turns values into bytes and back.
type codec[V any] struct {
	encode func(V) ([]byte, error)
	decode func([]byte) (V, error)
}

// version is that of the records written now. Records of older versions are
// read for ever; a change that old readers would get wrong raises it.
const version = 1

var stamp = fmt.Appendf(nil, `{"v":%d`, version)

// stored makes the codec of a value V whose stored form is S, a struct.
func stored[V, S any](to func(V) S, from func(S) V) codec[V] {
	return codec[V]{
		encode: func(v V) ([]byte, error) {
			raw, err := json.Marshal(to(v))
			if err != nil {
				return nil, err
			}
			out := append(make([]byte, 0, len(stamp)+len(raw)), stamp...)
			if len(raw) > len("{}") {
				out = append(out, ',')
			}
			return append(out, raw[1:]...), nil
		},
		decode: func(raw []byte) (V, error) {
			var s S
			var none V
			if err := checkVersion(raw); err != nil {
				return none, err
			}
			if err := json.Unmarshal(raw, &s); err != nil {
				return none, err
			}
			return from(s), nil
		},
	}
}

func checkVersion(raw []byte) error {
	if rest, ok := bytes.CutPrefix(raw, stamp); ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == '}') {
		return nil
	}
	var head struct{ V int }
	if err := json.Unmarshal(raw, &head); err != nil {
		return err
	}
	if head.V < 1 || head.V > version {
		return fmt.Errorf("it has version %d; this muster reads up to %d: a newer one wrote it", head.V, version)
	}
	return nil
}

// shared returns the one copy of a string that many records have.
func shared(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(s).Value()
}
