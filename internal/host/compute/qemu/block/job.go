package block

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

const (
	// jobPrefix begins the ids of our jobs, which are the names of the nodes that they
	// write to, too.
	jobPrefix = "copy-"
	// JobPoll is how often a job is asked how far it is.
	JobPoll = 200 * time.Millisecond
)

// JobID names the job that copies into a file.
func JobID(file string) string {
	h := sha256.Sum256([]byte(file))
	return jobPrefix + hex.EncodeToString(h[:8])
}

// Job is what QEMU does beside its guest.
type Job struct {
	ID     string
	Status string
	Done   int64  `json:"current-progress"`
	Total  int64  `json:"total-progress"`
	Fault  string `json:"error"`
}

// Ended reports whether it has come to its end, well or not.
func (j Job) Ended() bool { return j.Status == "concluded" }

// Job returns the job of this id, and false if there is none.
func (do Command) Job(ctx context.Context, id string) (Job, bool, error) {
	var all []Job
	if err := do(ctx, "query-jobs", nil, &all); err != nil {
		return Job{}, false, err
	}
	i := slices.IndexFunc(all, func(j Job) bool { return j.ID == id })
	if i < 0 {
		return Job{}, false, nil
	}
	return all[i], true, nil
}

// OpenTarget opens the file that a job shall write to.
func (do Command) OpenTarget(ctx context.Context, file string) error {
	return do(ctx, "blockdev-add", object{"driver": "qcow2", "node-name": JobID(file), "discard": "unmap", "detect-zeroes": "unmap",
		"file": object{"driver": "file", "filename": file}}, nil)
}

// Copy begins to copy a disk, as it is now, to a target that is open.
func (do Command) Copy(ctx context.Context, node, file string) error {
	return do(ctx, "blockdev-backup", object{"job-id": JobID(file), "device": node, "target": JobID(file), "sync": "full", "auto-dismiss": false}, nil)
}

// Copies lists the ids of copies of which anything is there.
func (do Command) Copies(ctx context.Context) ([]string, error) {
	ids, err := do.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var jobs []Job
	if err := do(ctx, "query-jobs", nil, &jobs); err != nil {
		return nil, err
	}
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, jobPrefix) })
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// Drop ends a copy, if there is one, and closes the file that it wrote to.
func (do Command) Drop(ctx context.Context, id string) error {
	for cancelled := false; ; {
		j, there, err := do.Job(ctx, id)
		if err != nil {
			return err
		}
		if !there {
			break
		}
		switch {
		case j.Ended():
			if err := do(ctx, "job-dismiss", object{"id": id}, nil); err != nil {
				return err
			}
			continue
		case !cancelled:
			cancelled = true
			if err := do(ctx, "job-cancel", object{"id": id}, nil); err != nil {
				return err
			}
		}
		t := time.NewTimer(JobPoll)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
	nodes, err := do.Nodes(ctx)
	if err != nil || !slices.Contains(nodes, id) {
		return err
	}
	return do.Close(ctx, id)
}
