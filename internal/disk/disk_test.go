package disk

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

func TestNamesFollowAzuresRule(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "data-1": true, "d_": true, "1.2_3": true, strings.Repeat("a", 80): true,
		"": false, strings.Repeat("a", 81): false, "_a": false, "-a": false, "a-": false, "a.": false, "a b": false, "ä": false, "a/b": false,
	} {
		for _, kind := range Kinds() {
			if err := CheckName(kind, name); (err == nil) != ok || err != nil && !resource.Is(err, resource.Invalid) {
				t.Errorf("%s %q: %v", kind, name, err)
			}
		}
	}
}

func TestLimitsFollowTypeAndSize(t *testing.T) {
	for _, tt := range []struct {
		sku  string
		gb   int
		tier string
		want Limit
	}{
		{"Premium_LRS", 1, "P1", Limit{120, 25}}, {"Premium_LRS", 4, "P1", Limit{120, 25}}, {"Premium_ZRS", 5, "P2", Limit{120, 25}},
		{"Premium_LRS", 128, "P10", Limit{500, 100}}, {"Premium_LRS", 129, "P15", Limit{1100, 125}}, {"Premium_LRS", MaxGB, "P80", Limit{20000, 900}},
		{"StandardSSD_LRS", 1024, "E30", Limit{500, 100}}, {"StandardSSD_ZRS", 8192, "E60", Limit{2000, 400}},
		{"Standard_LRS", 1, "S4", Limit{500, 60}}, {"Standard_LRS", 16384, "S70", Limit{2000, 500}},
		{PremiumV2, 10, "", Limit{3000, 125}}, {UltraSSD, 10, "", Limit{500, 100}}, {"Other", 10, "", Limit{}},
	} {
		if got, tier := LimitOf(tt.sku, tt.gb), TierOf(tt.sku, tt.gb); got != tt.want || tier != tt.tier {
			t.Errorf("%s of %d GB: %v %q, want %v %q", tt.sku, tt.gb, got, tier, tt.want, tt.tier)
		}
	}
}

func TestTablesGrow(t *testing.T) {
	for name, f := range families {
		for i, now := range f.tiers[1:] {
			before := f.tiers[i]
			if now.gb <= before.gb || now.number <= before.number || now.limit.IOPS < before.limit.IOPS || now.limit.MBps < before.limit.MBps {
				t.Errorf("%s: %v comes after %v", name, now, before)
			}
		}
	}
}

func TestOnlySomeTypesHaveLimitsThatAreAskedFor(t *testing.T) {
	for _, tt := range []struct {
		sku   string
		gb    int
		asked Limit
		at    string
	}{
		{"Premium_LRS", 10, Limit{}, ""}, {"Premium_LRS", 10, Limit{IOPS: 120}, "diskIOPSReadWrite"}, {"Standard_LRS", 10, Limit{MBps: 60}, "diskMBpsReadWrite"},
		{PremiumV2, 10, Limit{5000, 1200}, ""}, {PremiumV2, 10, Limit{5001, 0}, "diskIOPSReadWrite"}, {PremiumV2, 10, Limit{0, 751}, "diskMBpsReadWrite"},
		{PremiumV2, 10, Limit{0, 750}, ""}, {PremiumV2, 10, Limit{2999, 0}, "diskIOPSReadWrite"}, {PremiumV2, 10, Limit{5000, 1201}, "diskMBpsReadWrite"},
		{UltraSSD, 10, Limit{3000, 750}, ""}, {UltraSSD, 10, Limit{3001, 0}, "diskIOPSReadWrite"}, {UltraSSD, 10, Limit{100, 26}, "diskMBpsReadWrite"},
		{UltraSSD, 10, Limit{-1, 0}, "diskIOPSReadWrite"},
	} {
		err := CheckLimit(tt.sku, tt.gb, tt.asked)
		e, _ := err.(*resource.Error) //nolint:errorlint // it is not wrapped
		if (err == nil) != (tt.at == "") || e != nil && e.Target != tt.at {
			t.Errorf("%s of %d GB, %v: %v, want it at %q", tt.sku, tt.gb, tt.asked, err, tt.at)
		}
	}
}

func TestTiersOfPremiumDisksCanBeRaised(t *testing.T) {
	for _, tt := range []struct {
		sku, tier string
		gb        int
		want      Limit
		ok        bool
	}{
		{"Premium_LRS", "", 128, Limit{}, true}, {"Premium_LRS", "p10", 128, Limit{}, true}, {"Premium_LRS", "P50", 128, Limit{7500, 250}, true},
		{"Premium_LRS", "P60", 128, Limit{}, false}, {"Premium_LRS", "P4", 128, Limit{}, false}, {"Premium_LRS", "P80", 8192, Limit{20000, 900}, true},
		{"StandardSSD_LRS", "E20", 128, Limit{}, false}, {"StandardSSD_LRS", "E10", 128, Limit{}, true}, {UltraSSD, "P10", 128, Limit{}, false},
	} {
		if got, err := LimitOfTier(tt.sku, tt.gb, tt.tier); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s %s of %d GB: %v %v", tt.sku, tt.tier, tt.gb, got, err)
		}
	}
}

func TestSKUsAreSpelledAsAzureDoes(t *testing.T) {
	for _, tt := range []struct {
		kind       Kind
		name, want string
	}{
		{Managed, "", "Standard_LRS"}, {Managed, "premium_lrs", "Premium_LRS"}, {Managed, "Standard_ZRS", ""}, {Snapshot, "Standard_ZRS", "Standard_ZRS"},
		{Snapshot, UltraSSD, ""}, {Managed, "x", ""},
	} {
		if got, err := ParseSKU(tt.kind, tt.name); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s %q: %q %v", tt.kind, tt.name, got, err)
		}
	}
}

func TestURIsOfFilesCarryWhatIsKnownOfThem(t *testing.T) {
	sum := strings.Repeat("0aB", 21) + "c"
	for _, tt := range []struct {
		uri  string
		want File
	}{
		{"file:///images/a.qcow2", File{URI: "file:///images/a.qcow2"}},
		{"file:///a%20b.img#format=RAW&agent=true", File{URI: "file:///a%20b.img", Format: "raw", Agent: true}},
		{"https://example.org/a?sig=x#sha256=" + sum, File{URI: "https://example.org/a?sig=x", SHA256: strings.ToLower(sum)}},
		{"http://10.0.0.1:8000/a#agent=false&format=vhd", File{URI: "http://10.0.0.1:8000/a", Format: "vhd"}},
	} {
		if got, err := ParseFile(tt.uri); got != tt.want || err != nil {
			t.Errorf("%s: %+v %v", tt.uri, got, err)
		}
	}
	for _, uri := range []string{
		"", "a.img", "/a.img", "ftp://x/a", "file://host/a", "file:///a/../b", "file:a", "https:///a", "https://x", "https://x/?secret", "file:///a?b", "://", "file:///a\x00",
		"file:///a#md5=1", "file:///a#sha256=00", "file:///a#format=vmdk", "file:///a#agent=yes", "file:///a#agent=true&agent=true", "file:///a#%zz",
		"https://me:secret@x/a", "https://secret@x/a",
	} {
		if got, err := ParseFile(uri); !resource.Is(err, resource.Invalid) || got != (File{}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v %v", uri, got, err)
		}
	}
	if got := Shown("https://x/a?sig=secret#format=raw"); got != "https://x/a#format=raw" {
		t.Error(got)
	}
}

func TestADiskStandsWhereItsContentDoes(t *testing.T) {
	late, lost := &Failure{Attempts: 1, RetryAt: time.Unix(1, 0)}, &Failure{Attempts: 1}
	for _, tt := range []struct {
		d    Disk
		s    State
		want string
	}{
		{Disk{}, State{}, Creating}, {Disk{}, State{Failure: late}, Creating}, {Disk{}, State{Failure: lost}, Failed},
		{Disk{}, State{Failure: &Failure{Attempts: 3, RetryAt: time.Unix(1, 0)}}, Failed},
		{Disk{SizeGB: 5}, State{Ready: true, SizeGB: 5}, Succeeded}, {Disk{}, State{Ready: true, SizeGB: 5}, Succeeded},
		{Disk{SizeGB: 6}, State{Ready: true, SizeGB: 5}, Updating}, {Disk{SizeGB: 6}, State{Ready: true, SizeGB: 5, Failure: lost}, Failed},
		{Disk{Deleting: true}, State{Ready: true}, Deleting},
	} {
		if got := tt.d.Provisioning(tt.s); got != tt.want {
			t.Errorf("%+v %+v: %s, want %s", tt.d, tt.s, got, tt.want)
		}
	}
}

func TestEffectiveLimitsAreAskedForOrFollow(t *testing.T) {
	d := Disk{Kind: Managed, SKU: PremiumV2, Limit: Limit{MBps: 200}}
	if got := d.Effective(10); got != (Limit{3000, 200}) {
		t.Error(got)
	}
	if got := (Disk{Kind: Snapshot, SKU: "Premium_LRS"}).Effective(10); got != (Limit{}) {
		t.Error(got)
	}
	if CheckSize(0) == nil || CheckSize(MaxGB+1) == nil || CheckSize(1) != nil || CheckSize(MaxGB) != nil {
		t.Error("sizes")
	}
}
