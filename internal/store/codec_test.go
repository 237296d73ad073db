package store

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

var update = flag.Bool("update", false, "rewrite golden files")

// full gives every member of a struct a value that is not its zero.
func full(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Struct:
		switch v.Addr().Interface().(type) {
		case *time.Time:
			v.Set(reflect.ValueOf(time.Date(2026, 11, 1, 8, 0, n, 123456700, time.UTC)))
			return
		case *resource.ID:
			v.Set(reflect.ValueOf(resource.In("sub", "lab", "Microsoft.Compute", "virtualMachineScaleSets", "web")))
			return
		case *netip.Addr:
			v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 1)})))
			return
		case *netip.Prefix:
			v.Set(reflect.ValueOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, 0}), 16)))
			return
		}
		for i := range v.NumField() {
			full(v.Field(i), n+i+1)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		full(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type() != reflect.TypeFor[[]vmss.OperationError]() { // it contains itself
			full(v.Index(0), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"team": "web"}))
	case reflect.String:
		v.SetString("text-" + string(rune('a'+n%26)))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n + 1))
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(uint64(n + 1))
	case reflect.Bool:
		v.SetBool(true)
	}
}

// checkGolden holds a codec to what every version has written: the files decode
// to the value with every member set, for ever. The newest version's file is
// what is written now.
func checkGolden[V any](t *testing.T, name string, c codec[V]) {
	t.Helper()
	var want V
	full(reflect.ValueOf(&want).Elem(), 0)
	if g, ok := any(&want).(*resource.Group); ok {
		g.Revision = 0 // the store's own
	}
	raw, err := c.encode(want)
	if err != nil {
		t.Fatal(err)
	}
	now := filepath.Join("testdata", "v1", name+".json")
	if *update {
		if err := os.WriteFile(now, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(golden)), string(raw)); diff != "" {
		t.Errorf("%s is written otherwise than version %d has it; records that exist would not be read (-golden +now):\n%s", name, version, diff)
	}
	got, err := c.decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("%s decodes to something else (-want +got):\n%s", name, diff)
	}
}

func TestRecordsOfEveryVersionDecodeForEver(t *testing.T) {
	checkGolden(t, "group", groupCodec)
	checkGolden(t, "scaleset", scaleSetCodec)
	checkGolden(t, "state", stateCodec)
	checkGolden(t, "revision", revisionCodec)
	checkGolden(t, "instance", instanceCodec)
	checkGolden(t, "observation", observationCodec)
	checkGolden(t, "customization", customizationCodec)
	checkGolden(t, "operation", operationCodec)
	checkGolden(t, "outcome", outcomeCodec)
	checkGolden(t, "counter", counterCodec)
	checkGolden(t, "disk", diskCodec)
	checkGolden(t, "diskstate", diskStateCodec)
	checkGolden(t, "attachment", attachmentCodec)
	checkGolden(t, "network", networkCodec)
	checkGolden(t, "reservation", reservationCodec)
}

// again decodes what was written once and writes it anew.
func again[V any](c codec[V]) func([]byte) ([]byte, error) {
	return func(raw []byte) ([]byte, error) {
		v, err := c.decode(raw)
		if err != nil {
			return nil, err
		}
		return c.encode(v)
	}
}

// TestRecordsBeforeMembersWereAddedLoseNothing holds the codecs to records as they
// were written before their types got further members.
func TestRecordsBeforeMembersWereAddedLoseNothing(t *testing.T) {
	codecs := map[string]func([]byte) ([]byte, error){"revision": again(revisionCodec), "instance": again(instanceCodec), "customization": again(customizationCodec),
		"observation": again(observationCodec)}
	files, err := filepath.Glob(filepath.Join("testdata", "v1", "older", "*.json"))
	if err != nil || len(files) < len(codecs) {
		t.Fatal(files, err)
	}
	for _, file := range files {
		kind, _, _ := strings.Cut(filepath.Base(file), "-")
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw = []byte(strings.TrimSpace(string(raw)))
		got, err := codecs[kind](raw)
		if diff := cmp.Diff(string(raw), string(got)); err != nil || diff != "" {
			t.Errorf("%s: %v (-then +now):\n%s", file, err, diff)
		}
	}
}

func TestRecordsOfNewerVersionsAreRefused(t *testing.T) {
	for _, raw := range []string{`{"v":2,"n":1}`, `{"v":0}`, `{"n":1}`, `{"v":1`, `null`, ``} {
		if n, err := counterCodec.decode([]byte(raw)); err == nil {
			t.Errorf("%s was read as %d", raw, n)
		}
	}
}

func TestNoneAndNullInstancesOfAnOperationStayApart(t *testing.T) {
	for _, ids := range [][]vmss.InstanceID{nil, {}, {0}} {
		raw, err := operationCodec.encode(vmss.Operation{Instances: ids})
		if err != nil {
			t.Fatal(err)
		}
		got, err := operationCodec.decode(raw)
		if err != nil || (got.Instances == nil) != (ids == nil) {
			t.Errorf("%v became %v (%v)", ids, got.Instances, err)
		}
	}
}

func TestInstancesOfAnOperationAreReadInOrder(t *testing.T) {
	raw, err := operationCodec.encode(vmss.Operation{Instances: []vmss.InstanceID{3, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := operationCodec.decode(raw)
	if err != nil || !slices.IsSorted(got.Instances) || len(got.Instances) != 3 {
		t.Errorf("read %v (%v), want them in order", got.Instances, err)
	}
}
