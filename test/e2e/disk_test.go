//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const resources = "/resourceGroups/lab/providers/Microsoft.Compute/"

// disk is the body of a disk or snapshot.
func disk(sizeGB int, creation map[string]any) map[string]any {
	properties := map[string]any{"creationData": creation}
	if sizeGB > 0 {
		properties["diskSizeGB"] = sizeGB
	}
	return map[string]any{"location": "local", "properties": properties}
}

// property reads one property of a resource.
func (s *server) property(path, name string) any {
	s.t.Helper()
	status, _, answer := s.call("GET", path, nil)
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %v", path, status, answer)
	}
	return answer["properties"].(map[string]any)[name]
}

// TestDisksAreAttachedCopiedCapturedAndBooted takes a disk through its life with
// a real guest: attached, copied and enlarged while the guest runs; then the
// guest's own disk becomes an image, and another set boots from that, through a
// restart of the server.
func TestDisksAreAttachedCopiedCapturedAndBooted(t *testing.T) {
	s := newServer(t, "qemu", "")
	s.do("PUT", "/resourceGroups/lab", map[string]any{"location": "local"})
	base := "/subscriptions/" + s.admin.SubscriptionID
	instance := sets + "web/virtualMachines/0"
	data := resources + "disks/data"
	s.do("PUT", data, disk(1, map[string]any{"createOption": "Empty"}))
	s.do("PUT", sets+"web", web(1, "", ""))
	booted := s.guest("web", "0")["boot"]

	attach := func(disks ...any) map[string]any {
		return map[string]any{"location": "local", "properties": map[string]any{"storageProfile": map[string]any{"dataDisks": append([]any{}, disks...)}}}
	}
	s.do("PUT", instance, attach(map[string]any{"lun": 2, "createOption": "Attach", "managedDisk": map[string]any{"id": base + data}}))
	if state := s.property(data, "diskState"); state != "Attached" {
		t.Errorf("the disk is %v", state)
	}
	if status, _, answer := s.call("DELETE", data, nil); status != http.StatusConflict {
		t.Errorf("the attached disk is deleted: %d %v", status, answer)
	}
	s.do("PUT", resources+"snapshots/live", disk(0, map[string]any{"createOption": "Copy", "sourceResourceId": base + data}))
	s.do("PUT", data, disk(2, map[string]any{"createOption": "Empty"}))
	if size := s.property(data, "diskSizeGB"); size != 2.0 {
		t.Errorf("the disk has %v GB", size)
	}
	if after := s.guest("web", "0")["boot"]; after != booted {
		t.Error("the guest was restarted")
	}

	s.do("POST", instance+"/deallocate", nil)
	s.do("PUT", resources+"images/golden", map[string]any{"location": "local", "properties": map[string]any{"sourceVirtualMachine": map[string]any{"id": base + instance}}})
	s.do("PUT", instance, attach())
	s.eventually("the disk to be let go of", func() bool { return s.property(data, "diskState") == "Unattached" })
	s.do("DELETE", sets+"web", nil)

	s.kill()
	s.start()
	second := web(1, "", "")
	profile := second["properties"].(map[string]any)["virtualMachineProfile"].(map[string]any)
	profile["storageProfile"] = map[string]any{"imageReference": map[string]any{"id": base + resources + "images/golden"}}
	s.do("PUT", sets+"second", second)
	s.guest("second", "0")
	s.do("DELETE", resources+"images/golden", nil) // the set keeps what it was made from

	s.do("DELETE", "/resourceGroups/lab", nil)
	s.eventually("the group to be gone", func() bool {
		status, _, _ := s.call("GET", "/resourceGroups/lab", nil)
		return status == http.StatusNotFound
	})
	left, err := filepath.Glob(filepath.Join(s.dir, "volumes", "*.*"))
	halves, halvesErr := os.ReadDir(filepath.Join(s.dir, "volumes", "tmp"))
	if err != nil || halvesErr != nil || len(left)+len(halves) > 0 {
		t.Errorf("contents %v and halves %v are left (%v, %v)", left, halves, err, halvesErr)
	}
}
