package compute_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/muster-vm/muster/internal/vmss"
)

func TestStartingDeallocatedInstancesNeedsTheirVCPUs(t *testing.T) {
	y := newYard(t, 4)
	for _, id := range []vmss.InstanceID{1, 2} {
		y.change(id, func(row *vmss.Instance, seen *vmss.Observation) {
			row.Power, seen.Power = vmss.PowerDeallocated, vmss.PowerDeallocated
		})
	}
	y.api.Quotas = map[string]int{"cores": 3} // two are taken
	for _, body := range []string{"", `{"instanceIds": ["1", "2"]}`} {
		w := y.ask(http.MethodPost, "/start", body)
		if said := y.refused(w, http.StatusConflict, "OperationNotAllowed", ""); !strings.Contains(said, "Additional Required: 2") {
			t.Errorf("%s: %s", body, said)
		}
	}
	for _, body := range []string{`{"instanceIds": ["0", "2"]}`, `{"instanceIds": ["0"]}`} {
		if w := y.ask(http.MethodPost, "/start", body); w.Code != http.StatusAccepted {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}
