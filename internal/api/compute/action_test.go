package compute_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

func TestActionsBeginTheOperationThatIsAskedFor(t *testing.T) {
	y := newYard(t, 4)
	all := func(kind vmss.OperationKind) vmss.Operation { return vmss.Operation{Kind: kind, Below: 4} }
	some := func(kind vmss.OperationKind) vmss.Operation {
		return vmss.Operation{Kind: kind, Instances: []vmss.InstanceID{1, 3}}
	}
	one := func(kind vmss.OperationKind) vmss.Operation {
		return vmss.Operation{Kind: kind, Instances: []vmss.InstanceID{2}, AtInstance: true}
	}
	skipping := one(vmss.OpPowerOff)
	skipping.SkipShutdown = true
	for _, c := range []struct {
		path, body string
		want       vmss.Operation
	}{
		{"/start", ``, all(vmss.OpStart)},
		{"/start", `{}`, all(vmss.OpStart)},
		{"/start", `{"instanceIds": []}`, all(vmss.OpStart)},
		{"/restart", `{"instanceIds": ["*"]}`, all(vmss.OpRestart)},
		{"/restart", `{"instanceIds": ["3", "1", "3"]}`, some(vmss.OpRestart)},
		{"/poweroff?skipShutdown=false", `{"instanceIds": ["1", "3"]}`, some(vmss.OpPowerOff)},
		{"/deallocate?hibernate=false", `{"instanceIds": ["1", "3"]}`, some(vmss.OpDeallocate)},
		{"/redeploy", `{"instanceIds": ["1", "3"]}`, some(vmss.OpRedeploy)},
		{"/reimage", ``, all(vmss.OpReimage)},
		{"/reimage", `{"instanceIds": ["1", "3"]}`, some(vmss.OpReimage)},
		{"/reimageall", `{"instanceIds": ["1", "3"]}`, some(vmss.OpReimageAll)},
		{"/reapply", ``, all(vmss.OpReapply)},
		{"/manualupgrade", `{"instanceIds": ["*"]}`, all(vmss.OpManualUpgrade)},
		{"/manualupgrade", `{"instanceIds": ["1", "3"]}`, some(vmss.OpManualUpgrade)},
		{"/virtualMachines/2/start", ``, one(vmss.OpStart)},
		{"/virtualmachines/2/poweroff?skipShutdown=true", ``, skipping},
		{"/virtualMachines/2/restart", ``, one(vmss.OpRestart)},
		{"/virtualMachines/2/deallocate", `{}`, one(vmss.OpDeallocate)},
		{"/virtualMachines/2/redeploy", ``, one(vmss.OpRedeploy)},
		{"/virtualMachines/2/reimage", ``, one(vmss.OpReimage)},
		{"/virtualMachines/2/reimageall", ``, one(vmss.OpReimageAll)},
		{"/virtualMachines/%2A/deallocate", ``, all(vmss.OpDeallocate)},
	} {
		w := y.ask("POST", c.path, c.body)
		if w.Code != 202 || w.Body.Len() != 0 {
			t.Errorf("%s %s: %d %s", c.path, c.body, w.Code, w.Body)
			continue
		}
		got := y.lastOp()
		if poll := w.Header().Get("Azure-AsyncOperation"); !strings.Contains(poll, "/locations/local/operations/"+got.ID) || !strings.HasPrefix(w.Header().Get("Location"), poll+"&monitor=true") {
			t.Errorf("%s: polled at %s, then %s", c.path, poll, w.Header().Get("Location"))
		}
		c.want.Set, c.want.Location, c.want.Principal = yardUID, "local", "me"
		c.want.Target = y.set.ID
		if c.want.AtInstance {
			c.want.Target = y.set.ID.Child("virtualMachines", "2")
		}
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(vmss.Operation{}, "ID", "Sequence", "Created")); diff != "" {
			t.Errorf("%s %s: %s", c.path, c.body, diff)
		}
	}
}

func TestActionsAreRefused(t *testing.T) {
	y := newYard(t, 3)
	y.change(2, func(row *vmss.Instance, _ *vmss.Observation) { row.Deleting = true })
	const notActive = "instanceIds"
	for _, c := range []struct {
		path, body   string
		status       int
		code, target string
	}{
		{"/restart", `{"instanceIds": ["0", "7"]}`, 400, "InvalidParameter", notActive},
		{"/restart", `{"instanceIds": ["2"]}`, 400, "InvalidParameter", notActive},
		{"/restart", `{"instanceIds": ["x"]}`, 400, "InvalidParameter", "instanceIds[0]"},
		{"/restart", `{"names": ["0"]}`, 400, "InvalidRequestContent", "names"},
		{"/delete", ``, 400, "InvalidParameter", "instanceIds"},
		{"/delete", `{"instanceIds": ["7"]}`, 400, "InvalidParameter", notActive},
		{"/delete?forceDeletion=perhaps", `{"instanceIds": ["0"]}`, 400, "InvalidParameter", "forceDeletion"},
		{"/manualupgrade", `{}`, 400, "InvalidParameter", "instanceIds"},
		{"/reapply", `{"instanceIds": ["0"]}`, 400, "InvalidParameter", "instanceIds"},
		{"/deallocate?hibernate=true", ``, 400, "InvalidParameter", "hibernate"},
		{"/poweroff?skipShutdown=1", ``, 400, "InvalidParameter", "skipShutdown"},
		{"/performMaintenance", ``, 409, "OperationNotAllowed", ""},
		{"/virtualMachines/7/restart", ``, 400, "InvalidParameter", notActive},
		{"/virtualMachines/2/restart", ``, 400, "InvalidParameter", notActive},
		{"/virtualMachines/x/restart", ``, 400, "InvalidParameter", "instanceId"},
		{"/virtualMachines/0/restart", `{"instanceIds": ["1"]}`, 400, "InvalidParameter", "instanceIds"},
		{strings.Replace(yardSet, "/web", "/nope", 1) + "/restart", ``, 404, "ResourceNotFound", ""},
	} {
		y.refused(y.ask("POST", c.path, c.body), c.status, c.code, c.target)
	}
	y.rewrite(func(s *vmss.ScaleSet) { s.Deleting = true })
	y.refused(y.ask("POST", "/restart", ""), 409, "OperationNotAllowed", "")
	y.refused(y.ask("POST", "/delete", `{"instanceIds": ["*"]}`), 409, "OperationNotAllowed", "")
	y.refused(y.ask("DELETE", "/virtualMachines/0", ""), 409, "OperationNotAllowed", "")
	if op := y.lastOp(); op.ID != "" {
		t.Errorf("an operation began: %+v", op)
	}
}

func TestIdsThatAreNotThereAreAllNamedInAzuresWords(t *testing.T) {
	y := newYard(t, 1)
	w := y.ask("POST", "/start", `{"instanceIds": ["8", "0", "9"]}`)
	for _, id := range []string{"8", "9"} {
		if want := "The provided instanceId " + id + " is not an active Virtual Machine Scale Set VM instanceId."; !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s lacks %q", w.Body, want)
		}
	}
}

func TestDeletingInstancesLowersTheCapacityByThoseThatGo(t *testing.T) {
	y := newYard(t, 10)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/delete", `{"instanceIds": ["1", "3"]}`, 8},
		{"POST", "/delete", `{"instanceIds": ["1", "3", "4"]}`, 7}, // 1 and 3 are asked for already
		{"DELETE", "/virtualMachines/5", "", 6},
		{"DELETE", "/virtualMachines/5", "", 6},
		{"POST", "/delete?forceDeletion=true", `{"instanceIds": ["5"]}`, 6},
		{"POST", "/delete", `{"instanceIds": ["*"]}`, 0},
		{"DELETE", "/virtualMachines/6", "", 0},
	} {
		if w := y.ask(c.method, c.path, c.body); w.Code != 202 || y.current().Value.SKU.Capacity != c.want {
			t.Fatalf("%s %s %s: %d %s, capacity %d, want %d", c.method, c.path, c.body, w.Code, w.Body, y.current().Value.SKU.Capacity, c.want)
		}
	}
	op := y.lastOp()
	if op.Kind != vmss.OpDeleteSome || !op.AtInstance || !op.Covers(6) {
		t.Errorf("%+v", op)
	}
}

func TestInstancesThatAreAllGoingDoNotCountAgainAfterTheCapacityWasRaised(t *testing.T) {
	y := newYard(t, 3)
	y.ask("POST", "/delete", `{"instanceIds": ["*"]}`)
	y.rewrite(func(s *vmss.ScaleSet) { s.SKU.Capacity = 2 })
	y.ask("DELETE", "/virtualMachines/1", "")
	if n := y.current().Value.SKU.Capacity; n != 2 {
		t.Errorf("capacity %d, want 2", n)
	}
}

func TestDeletingWhatIsGoingAlreadyKeepsTheCapacity(t *testing.T) {
	y := newYard(t, 3)
	y.rewrite(func(s *vmss.ScaleSet) { s.SKU.Capacity = 2 })
	y.change(0, func(row *vmss.Instance, _ *vmss.Observation) { row.Deleting = true })
	w := y.ask("DELETE", "/virtualMachines/0?forceDeletion=true", "")
	if op := y.lastOp(); w.Code != 202 || !op.Force || y.current().Value.SKU.Capacity != 2 {
		t.Errorf("%d %s %+v, capacity %d", w.Code, w.Body, op, y.current().Value.SKU.Capacity)
	}
}

func TestACreateThatIsStillRunningDoesNotStopDeletions(t *testing.T) {
	y := newYard(t, 1)
	y.rewrite(func(s *vmss.ScaleSet) { s.SKU.Capacity = 5 }) // four rows are to come
	y.ask("DELETE", "/virtualMachines/0", "")
	if n := y.current().Value.SKU.Capacity; n != 4 {
		t.Errorf("capacity %d, want 4", n)
	}
	y.ask("POST", "/delete", `{"instanceIds": ["*"]}`)
	if n := y.current().Value.SKU.Capacity; n != 0 {
		t.Errorf("capacity %d, want 0", n)
	}
}

func TestASetWithoutPlannerStateTakesActionsOnNoInstances(t *testing.T) {
	y := newYard(t, 0)
	y.commit(store.Delete(store.States, y.set.UID, store.Any))
	if w := y.ask("POST", "/restart", ""); w.Code != 202 || y.lastOp().Covers(0) {
		t.Errorf("%d %+v", w.Code, y.lastOp())
	}
}

// TestConcurrentDeletesLoseNothing has as many callers as attempts could ever
// collide, each deleting an instance of its own.
func TestConcurrentDeletesLoseNothing(t *testing.T) {
	const n = 24
	y := newYard(t, n)
	var wg sync.WaitGroup
	codes := make([]int, n)
	for i := range n {
		wg.Go(func() { codes[i] = y.ask("DELETE", fmt.Sprintf("/virtualMachines/%d", i), "").Code })
	}
	wg.Wait()
	if slices.Max(codes) != 202 || slices.Min(codes) != 202 || y.current().Value.SKU.Capacity != 0 {
		t.Errorf("%v, capacity %d", codes, y.current().Value.SKU.Capacity)
	}
	if ops := y.store.OpenOperations(y.set.UID); len(ops) != n || ops[n-1].Sequence != n {
		t.Errorf("%d operations, the last numbered %d", len(ops), ops[len(ops)-1].Sequence)
	}
}

func TestAnActionIsPolledWhereItsHeadersSay(t *testing.T) {
	y := newYard(t, 1)
	w := y.ask("POST", "/restart", "")
	var op struct{ Name, Status string }
	if y.get(w.Header().Get("Azure-AsyncOperation"), &op); op.Status != "InProgress" || op.Name != y.lastOp().ID {
		t.Errorf("%+v", op)
	}
}
