package compute_test

import (
	"strings"
	"testing"
)

// The address of an instance's own has a version and a list of tags, whether
// they were asked for or not; clients read both.
func TestPublicAddressesOfInstancesHaveAVersionAndTags(t *testing.T) {
	body := strings.Replace(createBody, `"loadBalancerInboundNatPools"`,
		`"publicIPAddressConfiguration": {"name": "ip", "properties": {"idleTimeoutInMinutes": "10"}}, "loadBalancerInboundNatPools"`, 1)
	answer := render(t, put(t, nil, body))
	for _, want := range []string{`"publicIPAddressVersion":"IPv4"`, `"ipTags":[]`, `"idleTimeoutInMinutes":10`} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %s in %s", want, answer)
		}
	}
	if answer := render(t, put(t, nil, createBody)); strings.Contains(answer, "publicIPAddress") {
		t.Errorf("an address that was not asked for: %s", answer)
	}
}

// A set without an identity shows none, also after its identity was taken away.
func TestNoIdentityIsNotShown(t *testing.T) {
	for _, none := range []any{map[string]any{}, map[string]any{"type": "none"}, map[string]any{"type": "None", "userAssignedIdentities": map[string]any{}}} {
		if answer := render(t, put(t, nil, edit(t, createBody, none, "identity"))); strings.Contains(answer, `"identity"`) {
			t.Errorf("%v: %s", none, answer)
		}
	}
}
