package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// view lists a set with instance views.
const view = "/virtualMachines?$expand=instanceView"

// tour is what was seen of a list from its first page to its last.
type tour struct {
	instances int
	length    int      // in bytes
	pages     []string // links to them
}

// walk follows a list to its end.
func (s *server) walk(ctx context.Context, set string) (t tour, err error) {
	var into bytes.Buffer
	for link := sets + set + view; link != ""; {
		raw, err := s.fetch(ctx, link, &into)
		if err != nil {
			return t, err
		}
		t.pages = append(t.pages, link)
		t.instances += bytes.Count(raw, []byte(`"instanceId":`))
		t.length += len(raw)
		if link, err = nextLink(raw); err != nil {
			return t, err
		}
	}
	return t, nil
}

// nextLink reads the end of a page only, for the client is not what is
// measured.
func nextLink(page []byte) (string, error) {
	const name = `"nextLink":`
	i := bytes.LastIndex(page, []byte(name))
	if i < 0 {
		return "", nil
	}
	var link string
	err := json.NewDecoder(bytes.NewReader(page[i+len(name):])).Decode(&link)
	return link, err
}

// wholeList measures P6.
func (b *bench) wholeList(ctx context.Context) (result, error) {
	f, err := b.large(ctx)
	if err != nil {
		return result{}, err
	}
	var times []time.Duration
	var length int
	for range b.runs {
		begin := time.Now()
		t, err := f.walk(ctx, big)
		if err != nil {
			return result{}, err
		}
		if t.instances != large {
			return result{}, fmt.Errorf("the list has %d instances of %d", t.instances, large)
		}
		times, length = append(times, time.Since(begin)), t.length
	}
	took := median(times)
	return result{figure: seconds(took), target: "< 2 s", ok: took < 2*time.Second,
		yardstick: fmt.Sprintf("%d pages one after the other, %d MB, median of %d", large/100, length>>20, len(times))}, nil
}

// page measures P5: pages at random places, one after the other on one
// connection.
func (b *bench) page(ctx context.Context) (result, error) {
	const requests = 2000
	f, err := b.large(ctx)
	if err != nil {
		return result{}, err
	}
	if f.pages == nil {
		t, err := f.walk(ctx, big)
		if err != nil {
			return result{}, err
		}
		f.pages = t.pages
	}
	times := make([]time.Duration, requests)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same places each time
	var into bytes.Buffer
	for i := range times {
		link := f.pages[random.IntN(len(f.pages))]
		begin := time.Now()
		raw, err := f.fetch(ctx, link, &into)
		times[i] = time.Since(begin)
		if err != nil {
			return result{}, err
		}
		if bytes.Count(raw, []byte(`"PowerState/running"`)) != 100 {
			return result{}, errors.New("a page does not show 100 running instances")
		}
	}
	p50, p99 := percentile(times, 0.5), percentile(times, 0.99)
	return result{figure: fmt.Sprintf("p99 %s, p50 %s", millis(p99), millis(p50)), target: "p99 < 10 ms", ok: p99 < 10*time.Millisecond,
		yardstick: fmt.Sprintf("%d pages of 100 at random places, one client", requests)}, nil
}
