package compute_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/store/memstore"
)

// slow takes a disk's time for each commit.
type slow struct{ store.Backend }

// Commit implements store.Backend.
func (s slow) Commit(ctx context.Context, ops []store.Op) (int64, error) {
	time.Sleep(5 * time.Millisecond)
	return s.Backend.Commit(ctx, ops)
}

func TestAStormOfPutsOnOneSetIsWorkedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYardOn(t, slow{memstore.New().Open()}, 0)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				if w := y.ask("PUT", "", fmt.Sprintf(`{"sku": {"capacity": %d}}`, i)); w.Code != 200 {
					t.Errorf("PUT %d: %d %s", i, w.Code, w.Body)
				}
			})
		}
		wg.Wait()
	})
}

func TestARequestThatIsGivenUpLeavesItsTurnToTheNext(t *testing.T) {
	y := newYard(t, 0)
	inside, release := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = y.api.Tag(t.Context(), y.set.ID, func(tags map[string]string) (map[string]string, error) {
			inside <- true
			<-release
			return tags, nil
		})
	})
	<-inside
	gone, leave := context.WithCancel(t.Context())
	leave()
	entered := false
	enter := func(tags map[string]string) (map[string]string, error) { entered = true; return tags, nil }
	if _, err := y.api.Tag(gone, y.set.ID, enter); !errors.Is(err, context.Canceled) || entered {
		t.Errorf("while another has its turn: %v, entered: %v", err, entered)
	}
	close(release)
	wg.Wait()
	if _, err := y.api.Tag(t.Context(), y.set.ID, enter); err != nil || !entered {
		t.Errorf("afterwards: %v, entered: %v", err, entered)
	}
}

// guarded knows a principal by each token, none of which has a role.
type guarded struct{}

func (guarded) Authenticate(token string) (access.Principal, error) {
	return access.Principal{ObjectID: token}, nil
}

func (guarded) Authorize(p access.Principal, action, scope string) error {
	return access.Check(p, []access.Assignment{{ObjectID: "reader", Role: "Reader", Scope: "/subscriptions/s/resourceGroups/rg"},
		{ObjectID: "elsewhere", Role: "Owner", Scope: "/subscriptions/s/resourceGroups/r"}}, action, scope)
}

func TestAnOperationIsShownToWhoBeganItAndToReadersOfItsTarget(t *testing.T) {
	y := newYard(t, 0)
	if w := y.ask("PUT", "", `{"sku": {"capacity": 1}}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	h, err := arm.NewServer(y.api.Routes(), guarded{}, guarded{}, y.handler.Log)
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]int{"me": 200, "reader": 200, "elsewhere": 403, "nobody": 403} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", yardLocation+"/operations/"+y.lastOp().ID+"?api-version=2024-07-01", nil)
		r.Header.Set("Authorization", "Bearer "+who)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d %s", who, w.Code, w.Body)
		}
	}
}
