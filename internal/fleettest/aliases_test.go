package fleettest_test

import (
	"encoding/json"
	"testing"

	"github.com/muster-vm/muster/internal/fleettest"
)

// `az vm image list` reads every alias's five members, and reports none of them
// when one is missing.
func TestEveryImageAliasIsWhole(t *testing.T) {
	answer, err := fleettest.Boot(t, fleettest.Options{}).Get(t.Context(), "/aliases.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Outputs struct {
			Aliases struct {
				Value map[string]map[string]map[string]string
			}
		}
	}
	if err := json.Unmarshal([]byte(answer), &doc); err != nil || len(doc.Outputs.Aliases.Value) == 0 {
		t.Fatalf("%v: %s", err, answer)
	}
	for _, aliases := range doc.Outputs.Aliases.Value {
		for alias, i := range aliases {
			for _, member := range []string{"publisher", "offer", "sku", "version", "architecture"} {
				if i[member] == "" {
					t.Errorf("%s has no %s: %v", alias, member, i)
				}
			}
		}
	}
}
