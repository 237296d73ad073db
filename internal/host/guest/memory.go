package guest

import (
	"context"
	"strconv"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// memoryFile is where Linux tells of its memory.
const memoryFile = "/proc/meminfo"

// AvailableMemory returns how many bytes programs in the guest could get without
// swapping. It starts no program there. It fails with Unavailable where the
// guest is not Linux.
func (a *Agent) AvailableMemory(ctx context.Context) (int64, error) {
	var handle int64
	if err := a.call(ctx, "guest-file-open", map[string]any{"path": memoryFile, "mode": "r"}, &handle); err != nil {
		return 0, err
	}
	var read struct {
		Content []byte `json:"buf-b64"`
	}
	err := a.call(ctx, "guest-file-read", map[string]any{"handle": handle, "count": 4096}, &read)
	if closed := a.call(ctx, "guest-file-close", map[string]any{"handle": handle}, nil); err == nil {
		err = closed
	}
	if err != nil {
		return 0, err
	}
	return availableOf(string(read.Content))
}

// availableOf finds the line "MemAvailable:  62140 kB".
func availableOf(meminfo string) (int64, error) {
	for line := range strings.Lines(meminfo) {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == "MemAvailable:" && words[2] == "kB" {
			if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n >= 0 {
				return n << 10, nil
			}
		}
	}
	return 0, resource.Errorf(resource.Unavailable, "", "The guest does not tell how much memory is available.")
}
