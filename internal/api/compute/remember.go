package compute

import "sync"

// remembered keeps what is costly to make of records that do not change: keys
// name the records as they were.
type remembered[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]V
}

// maxRemembered bounds what is kept. What is dropped is made again.
const maxRemembered = 1000

// get returns what is known under the key, or makes it.
func (c *remembered[K, V]) get(key K, create func() (V, error)) (V, error) {
	c.mu.Lock()
	v, ok := c.known[key]
	c.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := create()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxRemembered {
		c.known = map[K]V{}
	}
	c.known[key] = v
	return v, nil
}
