// Package volumetest is the conformance suite of vaults: what the control plane
// relies on, whatever keeps the contents. It knows no vault.
package volumetest

import (
	"context"
	"slices"
	"testing"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/resource"
)

// Vault is the port of package reconcile/disk.
type Vault interface {
	Make(ctx context.Context, o disk.Order) (disk.Made, error)
	Grow(ctx context.Context, uid disk.UID, sizeGB int, at *disk.Attachment) error
	Remove(ctx context.Context, uid disk.UID) error
	SetAside(ctx context.Context, uid disk.UID) error
	Has(ctx context.Context, uid disk.UID, digest string) (bool, error)
	List(ctx context.Context) ([]disk.UID, error)
}

// Fixture is a vault to check and what contents can be made from.
type Fixture struct {
	Vault   Vault
	Image   disk.Source // an image that there is
	ImageGB int         // its size
	Import  disk.Source // a file that can be imported
	Capture disk.Source // an instance's disk
}

// Case is one property that every vault has.
type Case struct {
	Name  string
	Check func(t *testing.T, f Fixture)
}

// Cases returns the suite. Each case wants a fixture without contents.
func Cases() []Case {
	return []Case{
		{"what is made is there until it is removed", madeUntilRemoved},
		{"what is set aside is not there any more", setAside},
		{"a content is made once", once},
		{"a copy is as large as its source, or larger", copies},
		{"an image is known by its digest", images},
		{"a content grows and never shrinks", grows},
		{"every source makes a content", sources},
		{"what cannot be made leaves nothing", failures},
		{"what was given up leaves nothing and can be made", givenUp},
		{"progress reaches no more than all", progress},
	}
}

const first, second disk.UID = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"

func empty(uid disk.UID, sizeGB int) disk.Order {
	return disk.Order{UID: uid, Kind: disk.Managed, SizeGB: sizeGB, Source: disk.Source{Option: disk.Empty}}
}

func copyOf(uid, of disk.UID, kind disk.Kind) disk.Order {
	return disk.Order{UID: uid, Kind: kind, Source: disk.Source{Option: disk.Copy, Disk: of}}
}

func mustMake(t *testing.T, v Vault, o disk.Order, wantGB int) disk.Made {
	t.Helper()
	made, err := v.Make(t.Context(), o)
	if err != nil {
		t.Fatalf("Make(%+v): %v", o, err)
	}
	if wantGB > 0 && made.SizeGB != wantGB || disk.GB(made.Bytes) != made.SizeGB || (made.Digest != "") != (o.Kind == disk.Image) {
		t.Errorf("Make(%+v) = %+v, want %d GB", o, made, wantGB)
	}
	if there, err := v.Has(t.Context(), o.UID, made.Digest); !there || err != nil {
		t.Errorf("what was made is there: %t, %v", there, err)
	}
	return made
}

func mustFail(t *testing.T, err error, kind resource.Kind) {
	t.Helper()
	if !resource.Is(err, kind) {
		t.Errorf("failed with %v, want %v", err, kind)
	}
}

func listed(t *testing.T, v Vault, want ...disk.UID) {
	t.Helper()
	got, err := v.List(t.Context())
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List() = %v, %v, want %v", got, err, want)
	}
}

func remove(t *testing.T, v Vault, uid disk.UID) {
	t.Helper()
	if err := v.Remove(t.Context(), uid); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

func madeUntilRemoved(t *testing.T, f Fixture) {
	listed(t, f.Vault)
	mustMake(t, f.Vault, empty(first, 2), 2)
	mustMake(t, f.Vault, empty(second, 3), 3)
	listed(t, f.Vault, first, second)
	remove(t, f.Vault, first)
	remove(t, f.Vault, first) // twice is as good as once
	listed(t, f.Vault, second)
	if there, err := f.Vault.Has(t.Context(), first, ""); there || err != nil {
		t.Errorf("what was removed is there: %t, %v", there, err)
	}
}

func setAside(t *testing.T, f Fixture) {
	mustMake(t, f.Vault, empty(first, 2), 2)
	mustMake(t, f.Vault, empty(second, 2), 2)
	for range 2 { // twice is as good as once
		if err := f.Vault.SetAside(t.Context(), first); err != nil {
			t.Errorf("SetAside: %v", err)
		}
	}
	listed(t, f.Vault, second)
	mustMake(t, f.Vault, empty(first, 3), 3)
	if err := f.Vault.SetAside(t.Context(), first); err != nil {
		t.Errorf("SetAside of another one of that name: %v", err)
	}
}

func once(t *testing.T, f Fixture) {
	made := mustMake(t, f.Vault, empty(first, 2), 2)
	if again := mustMake(t, f.Vault, empty(first, 5), 2); again != made {
		t.Errorf("made again it is %+v, and was %+v", again, made)
	}
}

func copies(t *testing.T, f Fixture) {
	mustMake(t, f.Vault, empty(first, 2), 2)
	mustMake(t, f.Vault, copyOf(second, first, disk.Snapshot), 2)
	remove(t, f.Vault, first) // copies depend on nothing
	larger := copyOf(first, second, disk.Managed)
	larger.SizeGB = 4
	mustMake(t, f.Vault, larger, 4)
	remove(t, f.Vault, first)
	smaller := copyOf(first, second, disk.Managed)
	smaller.SizeGB = 1
	_, err := f.Vault.Make(t.Context(), smaller)
	mustFail(t, err, resource.Invalid)
	listed(t, f.Vault, second)
}

func images(t *testing.T, f Fixture) {
	mustMake(t, f.Vault, empty(first, 1), 1)
	image := copyOf(second, first, disk.Image)
	made := mustMake(t, f.Vault, image, 1)
	if again := mustMake(t, f.Vault, image, 1); again != made {
		t.Errorf("made again it is %+v, and was %+v", again, made)
	}
	remove(t, f.Vault, first)
	mustMake(t, f.Vault, disk.Order{UID: first, Kind: disk.Managed, SourceGB: 1, Source: disk.Source{Option: disk.FromImage, Digest: made.Digest}}, 1)
	remove(t, f.Vault, second)
	listed(t, f.Vault, first)
}

func grows(t *testing.T, f Fixture) {
	mustMake(t, f.Vault, empty(first, 2), 2)
	for _, size := range []int{3, 3, 1} {
		if err := f.Vault.Grow(t.Context(), first, size, nil); err != nil {
			t.Errorf("Grow to %d: %v", size, err)
		}
		mustMake(t, f.Vault, empty(first, 1), 3)
	}
	mustFail(t, f.Vault.Grow(t.Context(), second, 3, nil), resource.NotFound)
	// An attachment to a machine that does not run changes nothing.
	if err := f.Vault.Grow(t.Context(), first, 4, &disk.Attachment{Set: "nobody", Instance: 7}); err != nil {
		t.Errorf("Grow of an attached disk: %v", err)
	}
	mustMake(t, f.Vault, empty(first, 1), 4)
}

func sources(t *testing.T, f Fixture) {
	for _, tt := range []struct {
		source disk.Source
		wantGB int
	}{{f.Image, f.ImageGB}, {f.Import, 0}, {f.Capture, 0}} {
		for _, kind := range disk.Kinds() {
			mustMake(t, f.Vault, disk.Order{UID: first, Kind: kind, Source: tt.source, SourceGB: tt.wantGB}, tt.wantGB)
			remove(t, f.Vault, first)
		}
	}
	listed(t, f.Vault)
}

func failures(t *testing.T, f Fixture) {
	_, err := f.Vault.Make(t.Context(), empty(first, 0))
	mustFail(t, err, resource.Invalid)
	_, err = f.Vault.Make(t.Context(), copyOf(first, second, disk.Managed))
	mustFail(t, err, resource.NotFound)
	_, err = f.Vault.Make(t.Context(), disk.Order{UID: first, Kind: disk.Managed, Source: disk.Source{Option: disk.FromImage, Digest: "sha256:none"}})
	mustFail(t, err, resource.NotFound)
	listed(t, f.Vault)
	mustMake(t, f.Vault, empty(first, 1), 1)
}

func givenUp(t *testing.T, f Fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	o := disk.Order{UID: first, Kind: disk.Managed, Source: f.Image, SourceGB: f.ImageGB, Progress: func(int64, int64) { cancel() }}
	_, err := f.Vault.Make(ctx, o)
	mustFail(t, err, resource.Canceled)
	listed(t, f.Vault)
	o.Progress = nil
	mustMake(t, f.Vault, o, f.ImageGB)
}

func progress(t *testing.T, f Fixture) {
	var last int64
	o := disk.Order{UID: first, Kind: disk.Managed, Source: f.Import, Progress: func(done, total int64) {
		if done < last || total > 0 && done > total {
			t.Errorf("%d of %d bytes are done after %d", done, total, last)
		}
		last = done
	}}
	mustMake(t, f.Vault, o, 0)
}
