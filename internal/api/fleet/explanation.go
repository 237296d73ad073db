package fleet

import (
	"context"
	"strconv"
	"time"

	"github.com/muster-vm/muster/internal/arm"
	"github.com/muster-vm/muster/internal/plan"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/store"
	"github.com/muster-vm/muster/internal/vmss"
)

// explanation is why something that is wanted is not done, or not yet.
type explanation struct {
	Reason    string   `json:"reason"`
	Count     int      `json:"instanceCount"` // how many instances it is about; 0 if it is about none in particular
	Instances []string `json:"instanceIds"`   // of the first of them

	// Of an instance that is not well.
	Code     string     `json:"code,omitempty"`
	Attempts int        `json:"attempts,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
	RetryAt  *time.Time `json:"retryAt,omitempty"`
	Failed   *bool      `json:"failed,omitempty"` // false: it is tried again before it counts as failed
}

const (
	// pageSize is how many instances that are not well a page has at most.
	pageSize = 100
	// maxNamed bounds how many instances one explanation names.
	maxNamed = 100
	// scanSize is how many instances are looked at in one go.
	scanSize = 1000
)

// listExplanations lists what is wanted for the set and not done, and then each
// instance that is not well or waits for its connections.
func (a *API) listExplanations(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	set, err := a.Set(ctx, r)
	if err != nil {
		return nil, err
	}
	after, err := afterID(r)
	if err != nil {
		return nil, err
	}
	out := list[explanation]{Value: []item[explanation]{}}
	if after < 0 {
		out.Value = append(out.Value, blocked(a.Explain(set.Value.UID))...)
	}
	unwell, more := a.unwell(set.Value.UID, after)
	for _, rec := range unwell {
		out.Value = append(out.Value, failed(rec))
	}
	if more {
		out.NextLink = arm.NextLink(r, unwell[len(unwell)-1].ID.String())
	}
	return &arm.Response{Body: out}, nil
}

// afterID returns the instance after which the page starts, -1 for the first.
func afterID(r *arm.Request) (vmss.InstanceID, error) {
	token, err := arm.SkipToken(r)
	if err != nil || token == "" {
		return -1, err
	}
	id, err := vmss.ParseInstanceID(token)
	if err != nil {
		return -1, resource.Errorf(resource.Invalid, "InvalidSkipToken", "The $skiptoken is not one of this list. Follow nextLink as it was given.").At("$skiptoken")
	}
	return id, nil
}

// blocked explains what the planner wants and does not do. Names are kinds; the
// second of a kind has a number.
func blocked(all []plan.Blocked) []item[explanation] {
	var out []item[explanation]
	seen := map[string]int{}
	for _, b := range all {
		name := b.Kind
		if seen[b.Kind]++; seen[b.Kind] > 1 {
			name += "-" + strconv.Itoa(seen[b.Kind])
		}
		e := explanation{Reason: b.Reason, Count: len(b.Instances), Instances: []string{}}
		for _, id := range b.Instances[:min(len(b.Instances), maxNamed)] {
			e.Instances = append(e.Instances, id.String())
		}
		out = append(out, explained(name, e))
	}
	return out
}

// unwell returns a page of the instances that have a failure or drain, and whether
// there are more.
func (a *API) unwell(uid vmss.UID, after vmss.InstanceID) (page []*store.Record, more bool) {
	for {
		some := a.Store.Instances(uid, after, scanSize)
		for _, rec := range some {
			if failureOf(rec) == nil && drains(rec).IsZero() {
				continue
			}
			if len(page) == pageSize {
				return page, true
			}
			page = append(page, rec)
		}
		if len(some) < scanSize {
			return page, false
		}
		after = some[len(some)-1].ID
	}
}

func failureOf(rec *store.Record) *vmss.Failure {
	var seen vmss.Observation
	if rec.Seen != nil {
		seen = *rec.Seen
	}
	return vmss.FailureOf(*rec.Row.Value, seen)
}

// drains returns until when the instance waits for its connections at most; zero if
// it does not.
func drains(rec *store.Record) (until time.Time) {
	if rec.Seen != nil {
		until = rec.Seen.DrainUntil
	}
	return until
}

// failed explains what is wrong with an instance, or what it waits for.
func failed(rec *store.Record) item[explanation] {
	f := failureOf(rec)
	if f == nil {
		return explained("instance-"+rec.ID.String(), explanation{Reason: "Connections by load balancers drain, until " + drains(rec).Format(time.RFC3339) + " at most, before the instance goes down.",
			Count: 1, Instances: []string{rec.ID.String()}})
	}
	return explained("instance-"+rec.ID.String(), explanation{Reason: f.Message, Count: 1, Instances: []string{rec.ID.String()},
		Code: f.Code, Attempts: f.Attempts, Since: timeOf(f.Since), RetryAt: timeOf(f.RetryAt), Failed: new(f.Counts())})
}

func explained(name string, e explanation) item[explanation] {
	return item[explanation]{Name: name, Type: Namespace + "/explanations", Properties: e}
}

// timeOf leaves out times that are not known.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
