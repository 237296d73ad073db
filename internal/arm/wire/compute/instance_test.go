package compute_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/arm/wire/compute"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// withDisks is a set with all that an instance can show.
func withDisks(t testing.TB) *compute.Current {
	t.Helper()
	body := strings.Replace(createBody, `"imageReference"`, `"dataDisks": [{"lun": 3, "createOption": "empty", "diskSizeGB": 10}], "imageReference"`, 1)
	c, err := tryPut(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTheSDKReadsAllThatIsWritten unmarshals answers with the SDK and marshals
// them again: a member that the SDK does not know, or reads otherwise, is lost.
func TestTheSDKReadsAllThatIsWritten(t *testing.T) {
	c := withDisks(t)
	r := renderer(t, c)
	custom := &vmss.Customization{Protection: vmss.Protection{FromScaleIn: true}, Tags: map[string]string{"a": "b"}}
	in := running(7)
	in.Custom, in.Row.Zone = custom, "2"
	full := compute.InstanceOptions{View: true, UserData: true}
	for _, tt := range []struct {
		name   string
		answer []byte
		into   any
	}{
		{"scale set", []byte(render(t, c)), &armcompute.VirtualMachineScaleSet{}},
		{"instance", r.Render(in, full), &armcompute.VirtualMachineScaleSetVM{}},
		{"instance view", r.RenderInstanceView(in), &armcompute.VirtualMachineScaleSetVMInstanceView{}},
		{"view alone", r.Render(in, compute.InstanceOptions{OnlyView: true}), &armcompute.VirtualMachineScaleSetVM{}},
		{"sizes", compute.RenderSizes([]string{"Standard_B1s"}, 1000), &armcompute.VirtualMachineScaleSetListSKUsResult{}},
		{"set view", setView(in, running(8)), &armcompute.VirtualMachineScaleSetInstanceView{}},
		{"page", compute.RenderPage([][]byte{r.Render(in, full)}, "https://localhost/next"), &armcompute.VirtualMachineScaleSetVMListResult{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := json.Unmarshal(tt.answer, tt.into); err != nil {
				t.Fatalf("%v in %s", err, tt.answer)
			}
			again, err := json.Marshal(tt.into)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plain(t, tt.answer), plain(t, again)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func setView(all ...compute.InstanceInput) []byte {
	return compute.RenderSetInstanceView(func(yield func(vmss.Instance, vmss.Observation) bool) {
		for _, in := range all {
			if !yield(in.Row, in.Seen) {
				return
			}
		}
	}, compute.SetStatus{Provisioning: vmss.Succeeded, Since: created})
}

// plain reads JSON and makes times comparable: the SDK writes them with a Z.
func plain(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(raw), `+00:00"`, `Z"`)), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSetViewCountsByStatus(t *testing.T) {
	creating := compute.InstanceInput{Row: vmss.Instance{ID: 2, Generation: 1}}
	failed := running(3)
	failed.Seen.Failure = &vmss.Failure{Code: "ImageNotFound", Message: "There is no such image.", Final: true}
	got := plain(t, setView(running(0), running(1), creating, failed))
	want := map[string]any{
		"virtualMachine": map[string]any{"statusesSummary": []any{
			map[string]any{"code": "PowerState/running", "count": 3.0},
			map[string]any{"code": "ProvisioningState/creating", "count": 1.0},
			map[string]any{"code": "ProvisioningState/failed/ImageNotFound", "count": 1.0},
			map[string]any{"code": "ProvisioningState/succeeded", "count": 2.0},
		}},
		"statuses": []any{map[string]any{
			"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded", "time": "2026-01-31T08:00:00.1234567Z",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestViewOfADeallocatedInstanceNamesNoComputer(t *testing.T) {
	in := running(0)
	in.Seen.Power = vmss.PowerDeallocated
	view := string(renderer(t, withDisks(t)).RenderInstanceView(in))
	if strings.Contains(view, "computerName") || strings.Contains(view, "vmAgent") || !strings.Contains(view, "placementGroupId") {
		t.Error(view)
	}
	if !strings.Contains(view, `{"code":"PowerState/deallocated","level":"Info","displayStatus":"VM deallocated"}`) {
		t.Error(view)
	}
}

func TestAnInstanceSentBackAsItWasReadIsAccepted(t *testing.T) {
	r := renderer(t, withDisks(t))
	now := r.Render(running(4), compute.InstanceOptions{View: true})
	got, err := compute.ParseInstance(now, compute.InstanceNow{Rendered: now, MaxDataDisks: 4})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(vmss.Customization{Tags: map[string]string{}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnInstancePutRefusesWhatIsTheModels(t *testing.T) {
	now := renderer(t, withDisks(t)).Render(running(4), compute.InstanceOptions{})
	was := &vmss.Customization{Protection: vmss.Protection{FromScaleIn: true}, Tags: map[string]string{"a": "b"}}
	for _, tt := range []struct {
		body string
		want vmss.Protection
		bad  []string
	}{
		{`{}`, vmss.Protection{FromScaleIn: true}, nil},
		{`{"properties":{"protectionPolicy":{"protectFromScaleIn":"false"}}}`, vmss.Protection{}, nil},
		{`{"properties":{"protectionPolicy":{"protectFromScaleSetActions":true}}}`, vmss.Protection{FromScaleIn: true, FromScaleSetActions: true}, nil},
		{`{"properties":{"protectionPolicy":{"protectFromScaleSetActions":true,"protectFromScaleIn":false}}}`, vmss.Protection{}, []string{"properties.protectionPolicy.protectFromScaleIn"}},
		{`{"location":"West US","properties":{"hardwareProfile":{"vmSize":"Standard_D64"},"storageProfile":{"dataDisks":[]},"osProfile":{"adminPassword":"x"}}}`, vmss.Protection{}, []string{
			"location", "properties.hardwareProfile.vmSize", "properties.osProfile.adminPassword", "properties.storageProfile.dataDisks",
		}},
	} {
		got, err := compute.ParseInstance([]byte(tt.body), compute.InstanceNow{Rendered: now, Custom: was, MaxDataDisks: 4})
		var bad []string
		if e, ok := errors.AsType[*resource.Error](err); ok {
			bad = []string{e.Target}
			for i, d := range e.Details {
				bad = append(bad[:i], d.Target)
			}
		}
		slices.Sort(bad)
		if diff := cmp.Diff(tt.bad, bad); diff != "" {
			t.Errorf("%s: refused members: %s", tt.body, diff)
		}
		if err == nil && (got.Protection != tt.want || got.Tags["a"] != "b") {
			t.Errorf("%s: got %+v", tt.body, got)
		}
	}
}

func TestInstanceIDs(t *testing.T) {
	for _, tt := range []struct {
		body     string
		required compute.Required
		want     []vmss.InstanceID
		ok       bool
	}{
		{``, compute.MayName, nil, true},
		{`{}`, compute.MustName, nil, false},
		{`{"instanceIds":[]}`, compute.MayName, nil, true},
		{`{"instanceIds":["*"]}`, compute.MustName, nil, true},
		{`{"instanceIds":["3","0","3"]}`, compute.MustName, []vmss.InstanceID{0, 3}, true},
		{`{"instanceIds":[3]}`, compute.MustName, []vmss.InstanceID{3}, true},
		{`{"instanceIds":["web_3"]}`, compute.MustName, nil, false},
		{`{"instanceIds":["*","1"]}`, compute.MustName, nil, false},
		{`{"instances":["1"]}`, compute.MayName, nil, false},
	} {
		got, err := compute.ParseInstanceIDs([]byte(tt.body), tt.required)
		if (err == nil) != tt.ok || tt.ok && !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v; want %v", tt.body, got, err, tt.want)
		}
	}
	if _, err := compute.ParseReimage([]byte(`{"instanceIds":["1"],"osProfile":{"adminPassword":"x"}}`)); !resource.Is(err, resource.Invalid) {
		t.Errorf("reimage with another password: got %v, want Invalid", err)
	}
}

// BenchmarkPage writes a page of a hundred instances with their views.
func BenchmarkPage(b *testing.B) {
	c := withDisks(b)
	r, err := compute.NewInstanceRenderer(c.Set, vmss.Revision{Model: c.Model})
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	for b.Loop() {
		buf = buf[:0]
		for i := range vmss.InstanceID(100) {
			buf = r.Append(buf, running(i), compute.InstanceOptions{View: true})
		}
	}
	b.SetBytes(int64(len(buf)))
}

// BenchmarkScaleSet writes a scale set.
func BenchmarkScaleSet(b *testing.B) {
	c := withDisks(b)
	for b.Loop() {
		if _, err := compute.RenderScaleSet(c.Set, c.Model, compute.SetView{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestWhatIsBlockedIsAStatusOfItsOwn(t *testing.T) {
	ids := make([]vmss.InstanceID, 22)
	for i := range ids {
		ids[i] = vmss.InstanceID(i)
	}
	none := func(func(vmss.Instance, vmss.Observation) bool) {}
	raw := compute.RenderSetInstanceView(none, compute.SetStatus{Provisioning: vmss.Succeeded, Since: created, Blocked: []compute.Blocked{
		{Kind: "scaleOut", Reason: "No host has room.", Instances: ids}, {Kind: "upgrade", Reason: "Ask for it."},
	}})
	want := map[string]any{"virtualMachine": map[string]any{"statusesSummary": []any{}}, "statuses": []any{
		map[string]any{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded", "time": "2026-01-31T08:00:00.1234567Z"},
		map[string]any{
			"code": "Muster/blocked/scaleOut", "level": "Warning", "displayStatus": "Waiting: scaleOut",
			"message": "No host has room. Instances: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 2 more.",
		},
		map[string]any{"code": "Muster/blocked/upgrade", "level": "Info", "displayStatus": "Waiting: upgrade", "message": "Ask for it."},
	}}
	if diff := cmp.Diff(want, plain(t, raw)); diff != "" {
		t.Error(diff)
	}
}
