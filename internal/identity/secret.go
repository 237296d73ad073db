package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"

	"golang.org/x/crypto/argon2"
)

// hashed is a salted hash of a secret: Argon2id, 19 MiB, two passes.
type hashed struct {
	Salt []byte `json:"salt"`
	Sum  []byte `json:"argon2id"`
}

func hash(secret string) hashed {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	return hashed{salt, derive(secret, salt)}
}

func derive(secret string, salt []byte) []byte {
	return argon2.IDKey([]byte(secret), salt, 2, 19<<10, 1, 32)
}

// matches compares in constant time. A hash without a sum matches nothing, and
// takes as long.
func (h hashed) matches(secret string) bool {
	return subtle.ConstantTimeCompare(h.Sum, derive(secret, h.Salt)) == 1
}

// maxHashing is how many secrets are hashed at once. Each takes 19 MiB and a
// processor, and anybody can ask.
const maxHashing = 4

// hashing has a place for each hash in the making.
type hashing chan struct{}

// matches compares once there is a place; ok is false if ctx ends first.
func (h hashing) matches(ctx context.Context, with hashed, secret string) (matches, ok bool) {
	select {
	case h <- struct{}{}:
		defer func() { <-h }()
		return with.matches(secret), true
	case <-ctx.Done():
		return false, false
	}
}

// secretCache remembers the secrets that were verified, by a keyed hash that
// is worth nothing outside this process. It has one entry per principal.
type secretCache struct {
	mu   sync.Mutex
	key  []byte
	seen map[string][]byte // by client id
}

func (c *secretCache) has(client, secret string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum, ok := c.seen[client]
	return ok && hmac.Equal(sum, c.sum(secret))
}

func (c *secretCache) add(client, secret string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen, c.key = map[string][]byte{}, make([]byte, 32)
		_, _ = rand.Read(c.key) // never fails
	}
	c.seen[client] = c.sum(secret)
}

func (c *secretCache) sum(secret string) []byte {
	m := hmac.New(sha256.New, c.key)
	m.Write([]byte(secret))
	return m.Sum(nil)
}
