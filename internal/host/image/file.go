package image

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/muster-vm/muster/internal/resource"
)

// The OS types, as Azure spells them.
const (
	linux   = "Linux"
	windows = "Windows"
)

// maxSizeGB is what Azure lets an OS disk have.
const maxSizeGB = 4095

var sums = regexp.MustCompile(`^[0-9a-f]{64}$`)

// listed is an image in the catalogue file.
type listed struct {
	URN              string `json:"urn"`
	Alias            string `json:"alias"`
	OSType           string `json:"osType"`
	File             string `json:"file"`   // a disk with a boot loader
	Kernel           string `json:"kernel"` // or what is booted without one
	Initrd           string `json:"initrd"`
	Cmdline          string `json:"cmdline"`
	Disk             string `json:"disk"`
	Format           string `json:"format"` // of file or disk
	SizeGB           int    `json:"sizeGB"`
	NeedsCredentials *bool  `json:"needsCredentials"` // nil for true
	Agent            bool   `json:"agent"`
	SHA256           string `json:"sha256"` // of file or disk
	KernelSHA256     string `json:"kernelSHA256"`
	InitrdSHA256     string `json:"initrdSHA256"`
}

// reading is a catalogue file that is being read.
type reading struct {
	file     string
	locate   *locator // nil if no file is looked at
	entries  []*entry
	problems []*resource.Error
}

// readFile returns the images that the catalogue file lists, without digests.
func readFile(opts Options) ([]*entry, error) {
	if opts.File == "" {
		return nil, nil
	}
	text, err := os.ReadFile(opts.File)
	if err != nil {
		return nil, resource.Errorf(resource.Invalid, "InvalidConfig", "The catalogue file %s %s. "+
			"Correct images.catalogue in the server's config.", opts.File, faultOf(err)).At("images.catalogue").Because(err)
	}
	text, err = yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, invalid(opts.File, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var all struct {
		Images []json.RawMessage `json:"images"`
	}
	if err := decode(text, &all); err != nil {
		return nil, invalid(opts.File, "", "%v", err)
	}
	r := &reading{file: opts.File}
	if !opts.Simulated {
		r.locate = newLocator(filepath.Dir(opts.File), opts.Allowed)
	}
	for i, one := range all.Images {
		r.image(fmt.Sprintf("images[%d]", i), one)
	}
	return r.entries, r.err()
}

func (r *reading) bad(key, format string, args ...any) {
	r.problems = append(r.problems, invalid(r.file, key, format, args...))
}

func (r *reading) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	all := *r.problems[0]
	if len(r.problems) > 1 {
		all.Msg = fmt.Sprintf("The catalogue file %s has %d problems.", r.file, len(r.problems))
		all.Details = r.problems
	}
	return &all
}

// image reads one image. Everything that is wrong with it becomes a problem.
func (r *reading) image(key string, text []byte) {
	var l listed
	if err := decode(text, &l); err != nil {
		r.bad(key, "%v", err)
		return
	}
	before := len(r.problems)
	e := &entry{}
	r.name(key, l, e)
	r.shape(key, l)
	e.image.OSType = r.oneOf(key+".osType", l.OSType, linux, windows)
	e.image.SizeGB = l.SizeGB
	e.image.NeedsCredentials = l.NeedsCredentials == nil || *l.NeedsCredentials
	e.files = Files{CommandLine: l.Cmdline, Agent: l.Agent}
	if l.File != "" || l.Disk != "" {
		e.files.Format = r.oneOf(key+".format", l.Format, qcow2, raw)
	}
	name, path := "file", l.File
	if path == "" {
		name, path = "disk", l.Disk
	}
	e.files.Kernel = r.part(key, e, wanted{"kernel", kernel, l.Kernel, "kernelSHA256", l.KernelSHA256})
	e.files.Initrd = r.part(key, e, wanted{"initrd", initrd, l.Initrd, "initrdSHA256", l.InitrdSHA256})
	e.files.Disk = r.part(key, e, wanted{name, disk, path, "sha256", l.SHA256})
	if len(r.problems) == before {
		r.entries = append(r.entries, e)
	}
}

// name reads what the image is called.
func (r *reading) name(key string, l listed, e *entry) {
	image, err := parseURN(l.URN)
	if err != nil {
		r.bad(key+".urn", "%q is not publisher:offer:sku:version", l.URN)
		return
	}
	if !versions.MatchString(image.Version) {
		r.bad(key+".urn", "the version %q is not numbers with dots between, such as 1.0.20260131", image.Version)
	}
	e.image = image
	for _, o := range r.entries {
		if compare(o.image, image) == 0 {
			r.bad(key+".urn", "%s is listed twice", l.URN)
		}
	}
	if l.Alias == "" {
		return
	}
	if !names.MatchString(l.Alias) {
		r.bad(key+".alias", "%q may have letters, digits and ._- only", l.Alias)
	}
	e.aliases = []string{l.Alias}
	for _, o := range r.entries {
		if !o.called(l.Alias) {
			continue
		}
		if !same(o.image, image) {
			r.bad(key+".alias", "%s stands for %s already", l.Alias, o.image.URN())
		}
		e.aliases = o.aliases // in the same letter case
	}
}

// shape checks which keys go together.
func (r *reading) shape(key string, l listed) {
	if (l.File == "") == (l.Kernel == "") {
		r.bad(key, "it needs either file, a disk with a boot loader, or kernel")
		return
	}
	for _, other := range []struct{ name, value string }{
		{"initrd", l.Initrd}, {"cmdline", l.Cmdline}, {"disk", l.Disk}, {"kernelSHA256", l.KernelSHA256}, {"initrdSHA256", l.InitrdSHA256},
	} {
		if l.Kernel == "" && other.value != "" {
			r.bad(key+"."+other.name, "it goes with kernel only")
		}
	}
	if l.File == "" && l.Disk == "" && l.Format != "" {
		r.bad(key+".format", "there is no disk that could have a format")
	}
	if l.File == "" && l.Disk == "" && l.SizeGB == 0 {
		r.bad(key+".sizeGB", "an image without a disk needs the size of a blank one")
	}
	if l.SizeGB < 0 || l.SizeGB > maxSizeGB {
		r.bad(key+".sizeGB", "%d is not between 1 and %d", l.SizeGB, maxSizeGB)
	}
}

// oneOf returns the one of the choices that the value names.
func (r *reading) oneOf(key, value string, choices ...string) string {
	for _, c := range choices {
		if strings.EqualFold(c, value) {
			return c
		}
	}
	r.bad(key, "%q is not %s", value, strings.Join(choices, " or "))
	return ""
}

// wanted is a file as the catalogue names it.
type wanted struct {
	key, role, path string
	sumKey, sum     string
}

// part adds a file to the image and returns its real path.
func (r *reading) part(key string, e *entry, w wanted) string {
	sum := strings.TrimPrefix(strings.ToLower(w.sum), "sha256:")
	if sum != "" && !sums.MatchString(sum) {
		r.bad(key+"."+w.sumKey, "%q is not a SHA-256 in hexadecimal", w.sum)
	}
	if w.path == "" && sum != "" {
		r.bad(key+"."+w.sumKey, "there is no %s that could have it", w.key)
	}
	if w.path == "" || r.locate == nil {
		return w.path
	}
	if why := r.locate.outside(w.path); why != "" {
		r.bad(key+"."+w.key, "%s", why)
		return ""
	}
	p := &part{role: w.role, want: sum, remedy: fmt.Sprintf(
		"Put the right file there, or correct the catalogue file %s, and start the server again.", r.file)}
	var fault string
	if p.path, fault = r.locate.real(w.path); fault != "" {
		e.fault = cmp.Or(e.fault, e.unusable(p, fault))
	}
	e.parts = append(e.parts, p)
	return p.path
}

// invalid is a fault of the catalogue file that the server does not start with.
func invalid(file, key, format string, args ...any) *resource.Error {
	why := fmt.Sprintf(format, args...)
	if key != "" {
		why = key + ": " + why
	}
	return resource.Errorf(resource.Invalid, "InvalidConfig", "The catalogue file %s is not valid: %s.", file, why).At(key)
}

// decode is strict. Its errors are for operators and do not speak of Go.
func decode(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s is %s where %s belongs", cmp.Or(wrong.Field, "it"), article(wrong.Value), kindOf(wrong.Type))
	}
	if err != nil {
		return errors.New(strings.Replace(strings.TrimPrefix(err.Error(), "json: "), "unknown field", "unknown key", 1))
	}
	return nil
}

func article(value string) string {
	if value == "object" || value == "array" {
		return "an " + value
	}
	return "a " + value
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text (in quotes)"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}
