package image

import (
	"context"
	"errors"

	"github.com/muster-vm/muster/internal/resource"
)

// Know lets Has know of an image that was added before, where no image has files.
func (c *Catalogue) Know(digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.added[digest] = true
}

// Add pins an image that is in no catalogue and returns its digest: Files finds it
// from then on, as long as Prune is told to keep it. The files may be removed
// afterwards, and must not be changed. Adding the same content again changes
// nothing. It fails with Exhausted if there is no space.
func (c *Catalogue) Add(ctx context.Context, files Files) (digest string, err error) {
	if c.pins == "" {
		return "", resource.Errorf(resource.Unavailable, "", "This server keeps no images.")
	}
	var parts []*part
	for _, f := range [][2]string{{kernel, files.Kernel}, {initrd, files.Initrd}, {disk, files.Disk}} {
		if f[1] == "" {
			continue
		}
		sum, _, err := hash(ctx, f[1])
		if err != nil {
			return "", pinError(string(c.pins), errors.Join(ctx.Err(), err))
		}
		parts = append(parts, &part{role: f[0], path: f[1], sum: sum})
	}
	digest = contentDigest(parts, files.CommandLine)
	there, ok, err := c.pins.get(digest)
	if ok && err == nil && (there.Agent != files.Agent || there.Format != files.Format) || c.runsOtherwise(digest, files) {
		// The digest alone says how an image is run: this one is run otherwise.
		digest = textDigest(digest + " agent " + map[bool]string{true: "yes", false: "no"}[files.Agent] + " format " + files.Format)
	}
	if _, err := c.pin(ctx, digest, files); err != nil {
		return "", err
	}
	return digest, nil
}

// runsOtherwise reports whether the catalogue lists the content with another
// format or agent.
func (c *Catalogue) runsOtherwise(digest string, files Files) bool {
	for _, e := range c.images {
		if e.fault == nil && e.image.Digest == digest && (e.files.Agent != files.Agent || e.files.Format != files.Format) {
			return true
		}
	}
	return false
}
