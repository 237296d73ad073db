// Package img runs qemu-img, and reads what it says.
package img

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"github.com/muster-vm/muster/internal/rights"
)

// Run runs qemu-img and returns what it printed, on standard output and
// the last line on standard error.
func Run(ctx context.Context, words ...string) (out []byte, said string, err error) {
	cmd := exec.CommandContext(ctx, "qemu-img", words...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = rights.Without(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	return out, lastLine(stderr.String()), err
}

func lastLine(said string) string {
	said = strings.TrimSpace(said)
	return strings.TrimPrefix(said[strings.LastIndexByte(said, '\n')+1:], "qemu-img: ")
}

// Size reads how large a disk is for its guest from what "qemu-img info" says.
func Size(info []byte) (int64, error) {
	var i struct {
		VirtualSize int64 `json:"virtual-size"`
	}
	err := json.Unmarshal(info, &i)
	return i.VirtualSize, err
}

// Whole is Size for a file that must refer to no other.
func Whole(info []byte) (int64, error) {
	var i struct {
		VirtualSize int64  `json:"virtual-size"`
		Backing     string `json:"backing-filename"`
		Specific    struct {
			Data struct {
				DataFile string `json:"data-file"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(info, &i); err != nil {
		return 0, err
	}
	if i.Backing != "" || i.Specific.Data.DataFile != "" {
		return 0, fmt.Errorf("it refers to another file (%s%s)", i.Backing, i.Specific.Data.DataFile)
	}
	return i.VirtualSize, nil
}

// Convert copies a qcow2 file, with all that it is based on, into a new one. tell
// hears how far it is.
func Convert(ctx context.Context, from, to string, tell func(percent float64)) (said string, err error) {
	cmd := exec.CommandContext(ctx, "qemu-img", "convert", "-p", "-f", "qcow2", "-O", "qcow2", "--", from, to)
	var stderr bytes.Buffer
	cmd.Stderr, cmd.Stdout = &stderr, &percents{tell: tell}
	err = rights.Without(cmd.Run)
	return lastLine(stderr.String()), err
}

// percents reads what qemu-img says of its progress: "    (12.34/100%)\r".
type percents struct {
	line []byte
	tell func(percent float64)
}

// Write implements io.Writer.
func (p *percents) Write(b []byte) (int, error) {
	for _, c := range b {
		if c != '\r' && c != '\n' {
			p.line = append(p.line, c)
			continue
		}
		var percent float64
		if _, err := fmt.Sscanf(strings.TrimSpace(string(p.line)), "(%f/100%%)", &percent); err == nil {
			p.tell(percent)
		}
		p.line = p.line[:0]
	}
	return len(b), nil
}
