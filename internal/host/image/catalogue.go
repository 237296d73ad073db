package image

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Options say where images come from. All members may be empty.
type Options struct {
	Tiny      string   // directory of the built-in guest, as guest/tiny/build.sh makes it
	File      string   // the catalogue file, YAML or JSON
	Allowed   []string // directories that the catalogue file may point into
	CacheDir  string   // where digests of files are remembered, made if missing; empty hashes at every start
	Pins      string   // where images that are in use are kept as they were, made if missing; empty pins none
	Simulated bool     // nothing runs: no image needs files, and those with an alias of `az` are known
}

// Files are an image's files on this host. Paths are absolute and free of
// symbolic links.
type Files struct {
	Disk, Format   string // the OS disk's file, "qcow2" or "raw"; empty for a blank OS disk
	Kernel, Initrd string // for images that are booted without a boot loader
	CommandLine    string // of Kernel
	Agent          bool   // its guests run the QEMU guest agent
}

// Catalogue is the images of a server. What it lists does not change after Open;
// images that are added are known by their digest alone. It is safe for concurrent
// use.
//
// Everywhere, publishers, offers, SKUs and aliases match in any letter case and
// are returned as the catalogue spells them.
type Catalogue struct {
	opts    Options
	images  []*entry // sorted by URN; versions by number
	pins    pins
	missing *resource.Error // why the built-in guest is not among images, if so

	mu    sync.Mutex
	added map[string]bool // digests of images that were added, where no image has files
}

// entry is one image of the catalogue.
type entry struct {
	image   vmss.Image // Version and Exact are equal after Open
	aliases []string
	files   Files
	parts   []*part         // its files as they were when the digest was taken
	fault   *resource.Error // why it cannot be used; it has no digest then
}

// Open reads the catalogue. An image of the catalogue file takes the place of a
// built-in one with the same URN. Images whose files are missing or damaged are
// no error here: they are listed, Resolve says what to do, and so does Faults.
// Everything else that is wrong with the catalogue file is Invalid.
//
// Hashing files that are not in the cache takes as long as reading them; the
// context ends it.
func Open(ctx context.Context, opts Options) (*Catalogue, error) {
	c := &Catalogue{opts: opts, pins: pins(opts.Pins), added: map[string]bool{}}
	var err error
	if opts.Pins != "" {
		if err := os.MkdirAll(opts.Pins, 0o700); err != nil {
			return nil, pinError(opts.Pins, err)
		}
	}
	if c.images, err = readFile(opts); err != nil {
		return nil, err
	}
	if guest := tiny(opts); guest.image.Version == "" {
		c.missing = guest.fault
	} else {
		c.add(guest)
	}
	if opts.Simulated {
		c.add(simulated()...)
	}
	slices.SortStableFunc(c.images, func(a, b *entry) int { return compare(a.image, b.image) })
	if err := c.identify(ctx); err != nil {
		return nil, err
	}
	return c, c.distinct()
}

// add adds built-in images whose URN is not taken, without the aliases that are.
func (c *Catalogue) add(more ...*entry) {
	own := c.images
	for _, e := range more {
		if slices.ContainsFunc(own, func(o *entry) bool { return compare(o.image, e.image) == 0 }) {
			continue
		}
		e.aliases = slices.DeleteFunc(e.aliases, func(alias string) bool {
			return slices.ContainsFunc(own, func(o *entry) bool { return o.called(alias) })
		})
		c.images = append(c.images, e)
	}
}

// called reports whether alias stands for the image.
func (e *entry) called(alias string) bool {
	return slices.ContainsFunc(e.aliases, func(a string) bool { return strings.EqualFold(a, alias) })
}

// identify gives the images their exact versions and digests.
func (c *Catalogue) identify(ctx context.Context) error {
	cache, err := openCache(c.opts)
	if err != nil {
		return err
	}
	for _, e := range c.images {
		e.image.Exact = e.image.Version
		if c.opts.Simulated {
			e.image.Digest, e.fault = textDigest(e.image.URN()), nil
			e.image.SizeGB = cmp.Or(e.image.SizeGB, usualSizeGB[e.image.OSType])
		} else if err := e.identify(ctx, cache); err != nil {
			return err
		}
	}
	return cache.prune()
}

// identify takes the digest of the files and the size of the OS disk, unless
// there is a fault.
func (e *entry) identify(ctx context.Context, cache *cache) error {
	for _, p := range e.parts {
		if err := e.take(ctx, p, cache); err != nil {
			return err
		}
	}
	if e.fault == nil {
		e.image.Digest = contentDigest(e.parts, e.files.CommandLine)
	}
	return nil
}

// take looks at one file.
func (e *entry) take(ctx context.Context, p *part, cache *cache) (err error) {
	var fault string
	if e.fault == nil {
		fault, err = p.take(ctx, cache)
	}
	if e.fault == nil && err == nil && fault == "" && p.role == disk {
		e.image.SizeGB, fault = sizeGB(p.path, e.files.Format, e.image.SizeGB)
	}
	if fault != "" {
		e.fault = e.unusable(p, fault)
	}
	return err
}

func (e *entry) unusable(p *part, fault string) *resource.Error {
	return notFound("The image %s cannot be used: the file %s %s. %s", e.image.URN(), p.path, fault, p.remedy)
}

// distinct refuses images that are one by content and yet are to be run
// differently: the digest alone says how an image is run.
func (c *Catalogue) distinct() error {
	byDigest := map[string]*entry{}
	for _, e := range c.images {
		if e.fault != nil {
			continue
		}
		o, ok := byDigest[e.image.Digest]
		if ok && (o.files.Format != e.files.Format || o.files.Agent != e.files.Agent) {
			return invalid(c.opts.File, "images", "%s and %s have the same content and differ in format or agent", o.image.URN(), e.image.URN())
		}
		byDigest[e.image.Digest] = e
	}
	return nil
}

const referencePath = "properties.virtualMachineProfile.storageProfile.imageReference"

// Resolve returns the image that a reference means now. The version "latest",
// or none, is the highest one; Version stays as it was asked for and Exact says
// which it is. An image that is not known or whose files were missing or damaged
// at Open is NotFound, code ImageNotFound, with the remedy. A reference that lacks
// a part is Invalid.
func (c *Catalogue) Resolve(ref vmss.Image) (vmss.Image, error) {
	e, err := c.find(ref)
	if err != nil {
		return vmss.Image{}, err.At(referencePath)
	}
	image := e.image
	image.Version = ref.Version
	return image, nil
}

// Get returns the image of a URN, publisher:offer:sku:version, or of an alias.
// It fails as Resolve does.
func (c *Catalogue) Get(urn string) (vmss.Image, error) {
	ref, err := c.parse(urn)
	if err != nil {
		return vmss.Image{}, err
	}
	e, fault := c.find(ref)
	if fault != nil {
		return vmss.Image{}, fault
	}
	return e.image, nil
}

func (c *Catalogue) parse(urn string) (vmss.Image, error) {
	for _, e := range c.images {
		if e.called(urn) {
			return vmss.Image{Publisher: e.image.Publisher, Offer: e.image.Offer, SKU: e.image.SKU, Version: latest}, nil
		}
	}
	if !strings.Contains(urn, ":") {
		return vmss.Image{}, notFound("There is no image with the alias %q here. %s %s", urn, c.known(), c.remedy())
	}
	return parseURN(urn)
}

func (c *Catalogue) find(ref vmss.Image) (*entry, *resource.Error) {
	if ref.ID != "" {
		return nil, notFound("The image %s is not in the catalogue, which names images by publisher, offer, sku and version.", ref.ID)
	}
	if ref.Publisher == "" || ref.Offer == "" || ref.SKU == "" {
		return nil, resource.Errorf(resource.Invalid, "InvalidParameter",
			"An image reference needs publisher, offer and sku, or an id; this one is %q.", ref.URN())
	}
	all := c.family(ref)
	if len(all) == 0 && c.missing != nil && same(ref, tinyName) {
		return nil, c.missing
	}
	if len(all) == 0 {
		return nil, notFound("The image %s is not known here. %s %s", ref.URN(), c.known(), c.remedy())
	}
	e := all[len(all)-1]
	if ref.Version != "" && !strings.EqualFold(ref.Version, latest) {
		at := slices.IndexFunc(all, func(e *entry) bool { return e.image.Version == ref.Version })
		if at < 0 {
			return nil, notFound("The image %s is not known here. Its versions are %s. %s",
				ref.URN(), list(c.Versions(ref.Publisher, ref.Offer, ref.SKU)), c.remedy())
		}
		e = all[at]
	}
	if e.fault != nil {
		return nil, e.fault
	}
	return e, nil
}

// family returns the versions of an image, the highest last.
func (c *Catalogue) family(ref vmss.Image) []*entry {
	var all []*entry
	for _, e := range c.images {
		if same(e.image, ref) {
			all = append(all, e)
		}
	}
	return all
}

// Files returns the files of the image with a digest. The first time it makes
// sure that they are what they were (files whose size or time changed are read
// for that) and pins them, if Pins is set; from then on they stay the same,
// whatever becomes of those in the catalogue. It fails with NotFound, code
// ImageNotFound, and names the file and the remedy. A simulated catalogue has no
// files.
func (c *Catalogue) Files(ctx context.Context, digest string) (Files, error) {
	if files, ok, err := c.pins.get(digest); ok || err != nil {
		return files, err
	}
	found := notFound("The host has no image %s: its files were replaced, or its entry was removed. Choose the model's image again, "+
		"or put the old files back and start the server again. %s", digest, c.known())
	for _, e := range c.images {
		if e.fault != nil || e.image.Digest != digest || c.opts.Simulated {
			continue
		}
		fault, err := e.verify(ctx)
		if err != nil {
			return Files{}, err
		}
		if fault == nil {
			return c.pin(ctx, digest, e.files)
		}
		found = fault // another image may have the same content elsewhere
	}
	return Files{}, found
}

func (c *Catalogue) pin(ctx context.Context, digest string, files Files) (Files, error) {
	if c.pins == "" {
		return files, nil
	}
	if err := c.pins.add(ctx, digest, files); err != nil {
		return Files{}, pinError(string(c.pins), err)
	}
	pinned, _, err := c.pins.get(digest)
	return pinned, err
}

// verify returns a fault if a file is not what it was.
func (e *entry) verify(ctx context.Context) (*resource.Error, error) {
	for _, p := range e.parts {
		fault, err := p.verify(ctx)
		if err != nil {
			return nil, err
		}
		if fault != "" {
			return e.unusable(p, fault), nil
		}
	}
	return nil, nil
}

// Has reports whether the catalogue lists an image with the digest, or, where no
// image has files, one was added. It does not look at files.
func (c *Catalogue) Has(digest string) bool {
	c.mu.Lock()
	added := c.added[digest]
	c.mu.Unlock()
	return added || slices.ContainsFunc(c.images, func(e *entry) bool { return e.fault == nil && e.image.Digest == digest })
}

// Faults returns why images that should be there cannot be used, for the log of
// a server that starts.
func (c *Catalogue) Faults() []*resource.Error {
	var all []*resource.Error
	if c.missing != nil && c.opts.Tiny != "" {
		all = append(all, c.missing)
	}
	for _, e := range c.images {
		if e.fault != nil {
			all = append(all, e.fault)
		}
	}
	return all
}
