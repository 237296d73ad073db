package wire_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/arm/wire"
	"github.com/muster-vm/muster/internal/resource"
)

var schema = wire.MustParseLedger(`# A ledger with one of each.
name  string  readonly
view  object  readonly
tags  map  acts
tags{}  string  acts
count  int32  acts
large  int64  acts
ratio  number  echoed
on  bool  acts
mode  enum(Manual|Rolling)  acts except Rolling: Use Manual.
zones  array  acts
zones[]  string  acts
inner  object  acts
inner.id  id  acts
inner.blob  base64  secret
inner.pause  duration  echoed
inner.since  time  echoed
inner.any  any  echoed
gone  object  refused: Leave gone out.
gone.on  bool  refused
gone.list  array  refused
gone.list[]  string  refused
`)

func TestDecodeIsAsLenientAsAzureAndNoMore(t *testing.T) {
	for _, tt := range []struct {
		body string
		want string // canonical; empty if it is refused
		at   string // what the refusal points at
	}{
		{``, `{}`, ""},
		{`{"COUNT":"50000"}`, `{"count":50000}`, ""},
		{`{"count":3.0}`, `{"count":3}`, ""},
		{`{"large":9007199254740993}`, `{"large":9007199254740993}`, ""},
		{`{"on":"True"}`, `{"on":true}`, ""},
		{`{"mode":"mAnual"}`, `{"mode":"Manual"}`, ""},
		{`{"zones":[1,"2"]}`, `{"zones":["1","2"]}`, ""},
		{`{"name":{"anything":1},"view":[]}`, `{}`, ""},
		{`{"tags":{"b":"2","A":"1"}}`, `{"tags":{"A":"1","b":"2"}}`, ""},
		{`{"inner":{"pause":"PT90S","any":{"z":1.50,"a":null}}}`, `{"inner":{"pause":"PT1M30S","any":{"z":1.50}}}`, ""},
		{`{"gone":{"on":false,"list":[]}}`, `{"gone":{"on":false,"list":[]}}`, ""},
		{`{"gone":null,"count":null}`, `{}`, ""},
		{`{"banana":1}`, "", "banana"},
		{`{"inner":{"banana":1}}`, "", "inner.banana"},
		{`{"count":1,"Count":2}`, "", "count"},
		{`{"tags":{"a":"1","A":"2"}}`, "", "tags.a"},
		{`{"count":1.5}`, "", "count"},
		{`{"count":2147483648}`, "", "count"},
		{`{"large":9223372036854775808}`, "", "large"},
		{`{"count":true}`, "", "count"},
		{`{"on":1}`, "", "on"},
		{`{"mode":"Rolling"}`, "", "mode"},
		{`{"mode":"other"}`, "", "mode"},
		{`{"zones":"1"}`, "", "zones"},
		{`{"zones":[null]}`, "", "zones[0]"},
		{`{"inner":[]}`, "", "inner"},
		{`{"inner":{"id":"x"}}`, "", "inner.id"},
		{`{"inner":{"blob":"x"}}`, "", "inner.blob"},
		{`{"inner":{"pause":"5m"}}`, "", "inner.pause"},
		{`{"inner":{"since":"today"}}`, "", "inner.since"},
		{`{"gone":{"on":true}}`, "", "gone"},
	} {
		doc, err := schema.Decode([]byte(tt.body))
		if got := string(schema.Encode(doc)); err == nil && got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.body, got, tt.want)
		}
		e, _ := errors.AsType[*resource.Error](err)
		if (err != nil) != (tt.want == "") || err != nil && e.Target != tt.at {
			t.Errorf("%s: got %v, want a problem at %q", tt.body, err, tt.at)
		}
	}
}

func TestMalformedJSONIsLocated(t *testing.T) {
	for body, where := range map[string]string{
		"{\n  \"a\": 1,\n}":                  "line 3, column 1",
		`{"a":1} x`:                          "line 1, column 9",
		`{"a":1}{}`:                          "line 1",
		`{"a":`:                              "line 1, column 6",
		`{"a":1,"a":2}`:                      "same name came before",
		"{\"a\":\"\xff\"}":                   "not UTF-8",
		strings.Repeat("[", wire.MaxDepth+1): "too deep",
		`[1,]`:                               "line 1, column 4",
		`{"a" 1}`:                            "line 1, column 6",
		`{1:2}`:                              "line 1",
		`nul`:                                "line 1",
		` `:                                  "not complete",
	} {
		_, err := wire.ParseJSON([]byte(body))
		e, ok := errors.AsType[*resource.Error](err)
		if !ok || e.Code != wire.InvalidRequestContent || !strings.Contains(e.Msg, where) {
			t.Errorf("%q: got %v, want one that says %q", body, err, where)
		}
	}
	_, err := wire.ParseJSON(make([]byte, wire.MaxBytes+1))
	if e, _ := errors.AsType[*resource.Error](err); e == nil || e.Code != "RequestContentTooLarge" {
		t.Errorf("too large: got %v", err)
	}
}

func TestLedgerMistakesAreFound(t *testing.T) {
	for _, bad := range []string{
		"a string acts", "a  text  acts", "a  string  works", "a.b  string  acts", "a  string  acts\na  string  acts",
		"a  string  refused", "a  enum(X)  acts except Y: No.", "a  enum(X)  acts except X", "a  string  acts\na.b  string  acts", "a  enum  acts",
	} {
		if _, err := wire.ParseLedger(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// values generates JSON values, nulls among them.
func values(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.SampledFrom([]string{"", "x", "y"}).AsAny(), rapid.Int64Range(0, 3).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	object := rapid.Custom(func(t *rapid.T) any {
		return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), values(depth-1), 0, 3).Draw(t, "object")
	})
	array := rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(values(depth-1), 0, 2).Draw(t, "array") })
	return rapid.OneOf(append(scalars, object, array)...)
}

func TestMergePatchLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target, patch := values(3).Draw(t, "target"), values(3).Draw(t, "patch")
		before, _ := json.Marshal(target)
		once := wire.MergePatch(target, patch)
		if after, _ := json.Marshal(target); string(before) != string(after) {
			t.Fatalf("the target changed from %s to %s", before, after)
		}
		if diff := cmp.Diff(once, wire.MergePatch(once, patch)); diff != "" {
			t.Fatalf("merging twice differs from once: %s", diff)
		}
		if diff := cmp.Diff(reference(target, patch), once); diff != "" {
			t.Fatalf("not as RFC 7396 says: %s", diff)
		}
		if m, ok := target.(map[string]any); ok {
			if diff := cmp.Diff(any(m), wire.MergePatch(m, map[string]any{})); diff != "" {
				t.Fatalf("an empty patch changed the target: %s", diff)
			}
		}
	})
}

// reference is the pseudo code of RFC 7396, section 2, word for word.
func reference(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		maps.Copy(result, t)
	}
	for name, value := range p {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = reference(result[name], value)
		}
	}
	return result
}

func TestMergeReplacesMapsAndArrays(t *testing.T) {
	target := wire.Document{"tags": map[string]any{"a": "1"}, "zones": []any{"1"}, "count": int64(1), "inner": map[string]any{"id": "/x", "pause": "PT1S"}}
	body := wire.Document{"tags": map[string]any{"b": "2"}, "zones": []any{"2"}, "inner": map[string]any{"pause": nil}}
	want := wire.Document{"tags": map[string]any{"b": "2"}, "zones": []any{"2"}, "count": int64(1), "inner": map[string]any{"id": "/x"}}
	if diff := cmp.Diff(want, schema.Merge(target, body)); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsAreDropped(t *testing.T) {
	doc := wire.Document{"inner": map[string]any{"blob": "eA==", "pause": "PT1S"}}
	if diff := cmp.Diff(wire.Document{"inner": map[string]any{"pause": "PT1S"}}, schema.WithoutSecrets(doc)); diff != "" {
		t.Error(diff)
	}
	if wire.Get(doc, "inner", "blob") == nil {
		t.Error("the document itself lost its secret")
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"PT0S": 0, "PT5M": 5 * time.Minute, "P1D": 24 * time.Hour, "P1DT12H": 36 * time.Hour, "P2W": 14 * 24 * time.Hour,
		"pt1h30m": 90 * time.Minute, "PT0.5S": 500 * time.Millisecond, "-PT1S": -time.Second, "P0D": 0, "PT90S": 90 * time.Second,
	} {
		if got, err := wire.ParseDuration(s); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "P", "PT", "P1DT", "5M", "PT5", "PTM", "P1Y", "P1M", "PT1S1M", "PT1.5M", "PT1.S", "PT.5S", "PT1S1S", "PT-1S", "P999999999999D", "PT9223372037S", "PT0.0000000001S"} {
		if got, err := wire.ParseDuration(s); !resource.Is(err, resource.Invalid) {
			t.Errorf("%s: got %v, %v, want Invalid", s, got, err)
		}
	}
	for want, d := range map[string]time.Duration{"P1DT1H": 25 * time.Hour, "PT1M0.000000001S": time.Minute + 1, "-P1D": -24 * time.Hour} {
		if got := wire.FormatDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestDurationsParseAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(math.MinInt64+1, math.MaxInt64).Draw(t, "d"))
		if got, err := wire.ParseDuration(wire.FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v: %s parses to %v, %v", d, wire.FormatDuration(d), got, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"PT5M", "P1DT12H", "PT0.5S", "-PT1S", "P2W", "PT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := wire.ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := wire.ParseDuration(wire.FormatDuration(d)); err != nil || again != d {
			t.Errorf("%q is %v, which is written %s and read %v, %v", s, d, wire.FormatDuration(d), again, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"COUNT":"5","tags":{"a":"é\u0000\ud800"},"inner":{"any":[1.50,{"x":null}],"pause":"PT5M"},"zones":[1]}`))
	f.Add([]byte(`{"gone":{"on":true},"banana":[{}]}`))
	f.Add([]byte("{\"a\":\n[1,]}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := schema.Decode(raw)
		if err != nil {
			if !resource.Is(err, resource.Invalid) {
				t.Errorf("%q: %v is no error for users", raw, err)
			}
			return
		}
		if len(raw) > 0 && !json.Valid(raw) {
			t.Errorf("%q is no JSON, but was accepted", raw)
		}
		once := schema.Encode(doc)
		again, err := schema.Decode(once)
		if err != nil {
			t.Fatalf("%q became %s, which is refused: %v", raw, once, err)
		}
		if twice := schema.Encode(again); string(once) != string(twice) {
			t.Errorf("%q became %s and then %s", raw, once, twice)
		}
	})
}

func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1}}`), []byte(`{"a":{"b":null,"c":[1]}}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		target, err1 := wire.ParseJSON(a)
		patch, err2 := wire.ParseJSON(b)
		if err1 != nil || err2 != nil {
			return
		}
		if diff := cmp.Diff(reference(target, patch), wire.MergePatch(target, patch)); diff != "" {
			t.Error(diff)
		}
	})
}
