package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/durable"
	"github.com/muster-vm/muster/internal/host/fabric/bridge/tables"
	"github.com/muster-vm/muster/internal/network"
	"github.com/muster-vm/muster/internal/resource"
)

// record is what is kept of a virtual network, so that a server that starts knows
// what is there and serves its guests before anybody tells it to.
type record struct {
	Version int          `json:"version"` // 1
	UID     network.UID  `json:"uid"`
	Transit netip.Prefix `json:"transit"`
	// Program is the last that was applied, or was about to be. One that this version
	// does not understand counts as none: it comes again.
	Program json.RawMessage `json:"program"`

	raw []byte // the file's content
}

const (
	recordVersion = 1
	recordPrefix  = "network-"
	recordSuffix  = ".json"
)

func recordFile(dir, key string) string {
	return filepath.Join(dir, recordPrefix+key+recordSuffix)
}

// encodeRecord writes the file's content.
func encodeRecord(t transit, p network.Program) ([]byte, error) {
	program, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode the program of %s: %w", p.Network, err)
	}
	data, err := json.Marshal(record{Version: recordVersion, UID: p.Network, Transit: netip.Prefix(t), Program: program})
	return append(data, '\n'), err
}

// program returns the record's program, and false if there is none that this
// version understands.
func (r record) program() (p network.Program, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(r.Program))
	dec.DisallowUnknownFields()
	err := dec.Decode(&p)
	return p, err == nil && p.Network == r.UID
}

// writeRecord replaces the file of a virtual network.
func writeRecord(file string, content []byte) error {
	if err := durable.Write(file, content); err != nil {
		return resource.Errorf(resource.Unavailable, "", "The virtual network could not be saved in %s; is its disk full?", file).Because(err)
	}
	return nil
}

// readRecords reads the files of all virtual networks, in the order of their names.
func readRecords(dir string) (all []record, err error) {
	for _, key := range recordKeys(dir) {
		file := recordFile(dir, key)
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read virtual network: %w", err)
		}
		r := record{raw: data}
		if err := json.Unmarshal(data, &r); err != nil || r.Version != recordVersion || keyOf(r.UID) != key {
			return nil, resource.Errorf(resource.Unavailable, "",
				"The file %s is not a virtual network of this version; restore it, or delete it together with the instances in that network.", file).Because(err)
		}
		all = append(all, r)
	}
	return all, nil
}

// recordKeys lists the keys of the virtual networks that have a file.
func recordKeys(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, recordPrefix+"*"+recordSuffix)) // the pattern is well formed
	for i, file := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), recordPrefix), recordSuffix)
	}
	return files
}

// traces lists the keys of the virtual networks of a fabric of which anything is
// there: a file, a namespace or a table.
func traces(opts Options) ([]string, error) {
	keys := recordKeys(opts.Dir)
	own := namesOf(opts.Name)
	entries, err := os.ReadDir(namespaces)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if key, ok := strings.CutPrefix(e.Name(), own.namespace+"-"); ok {
			keys = append(keys, key)
		}
	}
	ours, err := tables.Below(own.table + "_")
	if err != nil {
		return nil, err
	}
	keys = append(keys, ours...)
	slices.Sort(keys)
	return slices.Compact(keys), nil
}
