package volume

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/muster-vm/muster/internal/disk"
	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/rights"
)

// Bounds on a run of qemu-img, which reads what strangers wrote.
const (
	toolMemory  = 2 << 30  // bytes of address space
	toolSeconds = 4 * 3600 // of processor time
)

// Programs are what a Vault runs.
func Programs() []string { return []string{"qemu-img", "prlimit"} }

// stranger says how qemu-img is told of a file in the directory of halves that
// was imported.
func stranger(name, format string) []string {
	if format == disk.FormatVHD {
		// The size in the footer counts, as in Azure; not the old geometry.
		return []string{"--image-opts", "--", "driver=vpc,force_size_calc=current_size,file.driver=file,file.filename=" + name}
	}
	return []string{"-f", format, "--", name}
}

func (v *Vault) create(ctx context.Context, uid disk.UID, sizeGB int) error {
	if sizeGB < 1 {
		return resource.Errorf(resource.Invalid, "InvalidParameter", "An empty disk needs a size.")
	}
	if err := v.room(0); err != nil {
		return err
	}
	_, name := v.half(uid, content)
	return v.tool(ctx, nil, "create", "-q", "-f", disk.FormatQcow2, "--", name, strconv.Itoa(sizeGB)+"G")
}

// convert makes the half of a content of a file that was imported. The bytes that
// were fetched count in the progress, and as much again is left.
func (v *Vault) convert(ctx context.Context, o disk.Order, from []string, fetched int64) error {
	_, name := v.half(o.UID, content)
	words := append([]string{"convert", "-p", "-O", disk.FormatQcow2}, from...)
	_, err := v.run(ctx, true, &meter{base: fetched, span: fetched, tell: o.Progress}, append(words, name)...)
	return err
}

// copyOf copies a disk of ours into the half of a content.
func (v *Vault) copyOf(ctx context.Context, o disk.Order, path, format string) error {
	size, err := v.roomFor(path)
	if err != nil {
		return err
	}
	_, name := v.half(o.UID, content)
	return v.tool(ctx, &meter{span: size, tell: o.Progress}, "convert", "-p", "-O", disk.FormatQcow2, "-f", format, "--", path, name)
}

// resize enlarges the disk in a file, durably.
func (v *Vault) resize(ctx context.Context, path string, sizeGB int) error {
	if err := v.room(0); err != nil {
		return err
	}
	if err := v.tool(ctx, nil, "resize", "-q", "-f", disk.FormatQcow2, "--", path, strconv.Itoa(sizeGB)+"G"); err != nil {
		return err
	}
	return v.failed(durable.Settle(path, path))
}

// tool runs qemu-img over files of ours.
func (v *Vault) tool(ctx context.Context, to *meter, words ...string) error {
	_, err := v.run(ctx, false, to, words...)
	return err
}

// run runs qemu-img in the directory of halves. It does not outlive this
// process.
func (v *Vault) run(ctx context.Context, strangers bool, to *meter, words ...string) ([]byte, error) {
	limits := []string{"--as=" + strconv.Itoa(toolMemory), "--cpu=" + strconv.Itoa(toolSeconds), "--core=0", "--", "qemu-img"}
	cmd := exec.CommandContext(ctx, "prlimit", append(limits, words...)...)
	cmd.Dir = v.tmp()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if to != nil {
		cmd.Stdout = to
	}
	err := rights.Without(cmd.Run) // on one thread: the kernel sends Pdeathsig when it ends
	return out.Bytes(), v.toolFailed(ctx, strangers, strings.TrimSpace(said.String()), err)
}

// toolFailed words a failure of qemu-img.
func (v *Vault) toolFailed(ctx context.Context, strangers bool, said string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return canceled(ctx.Err())
	}
	exit := &exec.ExitError{}
	if !errors.As(err, &exit) || exit.ExitCode() == 127 {
		return resource.Errorf(resource.Unavailable, "", "qemu-img cannot be run. Install it and prlimit (Debian: apt install qemu-utils util-linux).").
			Because(errors.Join(err, errors.New(said)))
	}
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		said = said[i+1:]
	}
	why := shorten(strings.TrimPrefix(said, "qemu-img: "), exit)
	switch {
	case strings.Contains(said, syscall.ENOSPC.Error()), strings.Contains(said, "No space left"):
		return v.full(err)
	case strangers:
		return damaged("cannot be read as a disk: %s", why).Because(err)
	case strings.Contains(said, "lock"):
		return resource.Errorf(resource.Unavailable, "DiskInUse", "The disk is in use by a virtual machine that does not let it be copied now.").Because(err)
	}
	return resource.Errorf(resource.Unavailable, "", "qemu-img failed: %s", why).Because(err)
}

func shorten(why string, exit *exec.ExitError) string {
	const most = 300
	if why == "" {
		return "it ended with " + exit.String() + "."
	}
	if len(why) > most {
		why = why[:most] + "..."
	}
	return strings.TrimSuffix(why, ".") + "."
}

// meter reads what qemu-img -p prints: "    (12.50/100%)", again and again.
type meter struct {
	base, span int64 // bytes that were done before, and that 100 % stand for
	tell       func(done, total int64)
	text       []byte
}

// Write implements io.Writer.
func (m *meter) Write(b []byte) (int, error) {
	m.text = append(m.text, b...)
	for {
		end := bytes.IndexByte(m.text, ')')
		if end < 0 {
			m.text = m.text[:min(len(m.text), 64)]
			return len(b), nil
		}
		begin := bytes.LastIndexByte(m.text[:end], '(')
		percent, _, found := bytes.Cut(m.text[begin+1:end], []byte("/"))
		if f, err := strconv.ParseFloat(string(percent), 64); found && err == nil {
			m.tell(m.base+int64(f/100*float64(m.span)), m.base+m.span)
		}
		m.text = m.text[end+1:]
	}
}
