package compute_test

import (
	"strings"
	"testing"
)

const yardVersions = yardLocation + "/publishers/canonical/artifacttypes/vmimage/offers/Jammy/skus/22_04-lts/versions"

// named is an entry of the catalogue.
type named struct{ Name, Location, ID string }

func TestTheCatalogueIsWalkedByBareArraysInItsOwnSpelling(t *testing.T) {
	y := newYard(t, 0)
	const at = "/Subscriptions/s/Providers/Microsoft.Compute/Locations/local/Publishers/Canonical"
	for path, want := range map[string]named{
		"/publishers": {"Canonical", "local", at},
		"/publishers/CANONICAL/artifacttypes/vmimage/offers":            {"jammy", "local", at + "/ArtifactTypes/VMImage/Offers/jammy"},
		"/publishers/canonical/artifacttypes/vmimage/offers/jammy/skus": {"22_04-lts", "local", at + "/ArtifactTypes/VMImage/Offers/jammy/Skus/22_04-lts"},
	} {
		var got []named
		if y.get(yardLocation+path, &got); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestTheNewestVersionIsTheFirstInDescendingOrder(t *testing.T) {
	y := newYard(t, 0)
	for query, want := range map[string]string{"": "22.04.9 22.04.10", "?$orderby=name desc": "22.04.10 22.04.9", "?$top=1&$orderby=name%20desc": "22.04.10", "?$top=5": "22.04.9 22.04.10"} {
		var got []named
		y.get(yardVersions+query, &got)
		var names []string
		for _, v := range got {
			names = append(names, v.Name)
		}
		if strings.Join(names, " ") != want {
			t.Errorf("%s: %v, want %s", query, names, want)
		}
	}
}

func TestAVersionHasWhatTheCLIReads(t *testing.T) {
	y := newYard(t, 0)
	var got struct {
		named
		Properties struct {
			HyperVGeneration, Architecture string
			OSDiskImage                    struct {
				OperatingSystem string
				SizeInGB        int
			}
			DataDiskImages, Features []any
			Plan                     any
		}
	}
	y.get(yardVersions+"/22.04.9", &got)
	if p := got.Properties; got.Name != "22.04.9" || p.HyperVGeneration != "V1" || p.Architecture != "x64" || p.OSDiskImage.OperatingSystem != "Linux" ||
		p.OSDiskImage.SizeInGB != 30 || p.DataDiskImages == nil || p.Features == nil || p.Plan != nil {
		t.Errorf("%+v", got)
	}
	var all []struct {
		Properties struct{ HyperVGeneration string }
	}
	if y.get(yardVersions+"?$expand=properties", &all); len(all) != 2 || all[1].Properties.HyperVGeneration != "V1" {
		t.Errorf("%+v", all)
	}
}

func TestImagesThatAreNotThereAreNotFound(t *testing.T) {
	y := newYard(t, 0)
	y.refused(y.ask("GET", yardLocation+"/publishers/nobody/artifacttypes/vmimage/offers", ""), 404, "NotFound", "")
	y.refused(y.ask("GET", strings.Replace(yardVersions, "Jammy", "noble", 1), ""), 404, "NotFound", "")
	y.refused(y.ask("GET", yardVersions+"/1.2.3", ""), 404, "ImageNotFound", "")
	for query, target := range map[string]string{"$top=x": "$top", "$top=0": "$top", "$orderby=id": "$orderby", "$expand=all": "$expand"} {
		y.refused(y.ask("GET", yardVersions+"?"+query, ""), 400, "InvalidParameter", target)
	}
	if w := y.ask("GET", strings.Replace(yardVersions, "/local/", "/mars/", 1), ""); w.Code == 200 {
		t.Errorf("a location that is not there: %s", w.Body)
	}
}
