package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// Publishers returns who publishes images here, sorted.
func (c *Catalogue) Publishers() []string { return c.under() }

// Offers returns a publisher's offers, sorted; none for an unknown publisher.
func (c *Catalogue) Offers(publisher string) []string { return c.under(publisher) }

// SKUs returns an offer's SKUs, sorted; none for an unknown offer.
func (c *Catalogue) SKUs(publisher, offer string) []string { return c.under(publisher, offer) }

// Versions returns the versions of an image, the highest last; none for an
// unknown image.
func (c *Catalogue) Versions(publisher, offer, sku string) []string {
	return c.under(publisher, offer, sku)
}

// under returns the names that follow a part of a URN. The images are sorted,
// so names that are equal but for their letter case are neighbours.
func (c *Catalogue) under(prefix ...string) []string {
	all := []string{}
	for _, e := range c.images {
		urn := []string{e.image.Publisher, e.image.Offer, e.image.SKU, e.image.Version}
		if slices.EqualFunc(urn[:len(prefix)], prefix, strings.EqualFold) {
			all = append(all, urn[len(prefix)])
		}
	}
	return slices.CompactFunc(all, strings.EqualFold)
}

// Aliases returns, by OS type and alias, what the aliases stand for: publisher,
// offer, SKU, and "latest" as the version. Both OS types are always there.
func (c *Catalogue) Aliases() map[string]map[string]vmss.Image {
	all := map[string]map[string]vmss.Image{linux: {}, windows: {}}
	for _, e := range c.images {
		i := e.image
		for _, alias := range e.aliases {
			all[i.OSType][alias] = vmss.Image{Publisher: i.Publisher, Offer: i.Offer, SKU: i.SKU, Version: latest}
		}
	}
	return all
}

// known says in a sentence what images there are.
func (c *Catalogue) known() string {
	var all []string
	for i, e := range c.images {
		if i == 0 || !same(c.images[i-1].image, e.image) {
			all = append(all, e.image.Publisher+":"+e.image.Offer+":"+e.image.SKU)
		}
	}
	if len(all) == 0 {
		return "No image is known here."
	}
	return "Known are " + list(all) + "."
}

// remedy says in a sentence how to make an image known.
func (c *Catalogue) remedy() string {
	if c.opts.File == "" {
		return "List it in a catalogue file, name that as images.catalogue in the server's config, and start the server again."
	}
	return fmt.Sprintf("List it in the catalogue file %s and start the server again.", c.opts.File)
}

// list names the first few.
func list(all []string) string {
	const few = 6
	if more := len(all) - few; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:few], ", "), more)
	}
	return strings.Join(all, ", ")
}

func notFound(format string, args ...any) *resource.Error {
	return resource.Errorf(resource.NotFound, "ImageNotFound", format, args...)
}
