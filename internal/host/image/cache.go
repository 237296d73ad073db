package image

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/resource"
)

// cache remembers the digests of files between starts: hashing disks of many
// gigabytes each time would make starts slow. It may be lost at any time.
type cache struct {
	file  string // empty for a cache that is not kept
	known map[string]remembered
	used  map[string]bool
}

type remembered struct {
	stamp
	SHA256 string `json:"sha256"`
}

// openCache makes the directory if it is missing. What cannot be understood is
// forgotten. The simulator hashes nothing and leaves what is there alone.
func openCache(opts Options) (*cache, error) {
	c := &cache{known: map[string]remembered{}, used: map[string]bool{}}
	if opts.CacheDir == "" || opts.Simulated {
		return c, nil
	}
	c.file = filepath.Join(opts.CacheDir, "digests.json")
	if err := os.MkdirAll(opts.CacheDir, 0o700); err != nil {
		return nil, c.failed(err)
	}
	text, err := os.ReadFile(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, c.failed(err)
	}
	if json.Unmarshal(text, &c.known) != nil || c.known == nil {
		c.known = map[string]remembered{}
	}
	return c, nil
}

func (c *cache) find(path string, at stamp) (sum string, ok bool) {
	r, ok := c.known[path]
	c.used[path] = true
	return r.SHA256, ok && r.stamp == at && sums.MatchString(r.SHA256)
}

// put saves at once: what took long to hash is not lost when the next file
// cannot be read.
func (c *cache) put(path string, at stamp, sum string) error {
	c.known[path] = remembered{at, sum}
	return c.save()
}

// prune forgets the files that were not asked for since the cache was opened.
func (c *cache) prune() error {
	stale := false
	for path := range c.known {
		if !c.used[path] {
			delete(c.known, path)
			stale = true
		}
	}
	if !stale {
		return nil
	}
	return c.save()
}

func (c *cache) save() error {
	if c.file == "" {
		return nil
	}
	text, err := json.MarshalIndent(c.known, "", "  ")
	if err != nil {
		return c.failed(err)
	}
	return c.failed(durable.Write(c.file, text))
}

func (c *cache) failed(err error) error {
	if err == nil {
		return nil
	}
	return resource.Errorf(resource.Unavailable, "", "The digests of image files cannot be kept in %s. "+
		"Make its directory writable for the server.", c.file).Because(err)
}
