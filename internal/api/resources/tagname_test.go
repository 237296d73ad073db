package resources_test

import "testing"

func TestTagNamesAreCountedOverGroupsAndResources(t *testing.T) {
	h := shelf(t)
	if w := do(h, "PATCH", "/subscriptions/S/resourceGroups/rg1?api-version=2021-04-01", `{"tags": {"App": "db"}}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	w := do(h, "GET", "/subscriptions/S/tagNames?api-version=2019-10-01", "")
	want := `{"value":[{"count":{"type":"Total","value":3},"id":"/subscriptions/S/tagNames/App","tagName":"App","values":[` +
		`{"count":{"type":"Total","value":2},"id":"/subscriptions/S/tagNames/App/tagValues/db","tagValue":"db"},` +
		`{"count":{"type":"Total","value":1},"id":"/subscriptions/S/tagNames/App/tagValues/it's","tagValue":"it's"}]}]}`
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
	if w := do(h, "GET", "/subscriptions/T/tagNames?api-version=2019-10-01", ""); w.Code != 404 {
		t.Errorf("another subscription: %d", w.Code)
	}
}
