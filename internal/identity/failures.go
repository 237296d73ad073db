package identity

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// failures slows down guessing: ten attempts at once, then one a second, from
// each address. Only attempts with an unverified secret count.
type failures struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

// maxAddresses bounds memory; beyond it the counting starts over.
const maxAddresses = 4096

func (f *failures) allow(address string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[address]
	if l == nil {
		if f.by == nil || len(f.by) >= maxAddresses {
			f.by = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(1, 10)
		f.by[address] = l
	}
	return l.AllowN(now, 1)
}
