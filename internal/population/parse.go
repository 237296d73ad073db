package population

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// The JSON shapes. Durations are written as "20s".
type (
	fileJSON struct {
		Seed   *uint64     `json:"seed"`
		Hosts  []hostJSON  `json:"hosts"`
		Boot   *bootJSON   `json:"boot"`
		Load   *loadJSON   `json:"load"`
		Copy   string      `json:"copy"`
		Faults []faultJSON `json:"faults"`
	}
	hostJSON struct {
		Name        string   `json:"name"`
		Count       *int     `json:"count"` // that many alike, named "{name}-1" and on
		Zone        string   `json:"zone"`
		Zones       []string `json:"zones"` // with count: dealt in turn
		FaultDomain int      `json:"faultDomain"`
		VCPUs       int      `json:"vCPUs"`
		MemoryMB    int      `json:"memoryMB"`
	}
	bootJSON struct {
		Base     string `json:"base"`
		Jitter   string `json:"jitter"`
		Shutdown string `json:"shutdown"`
	}
	loadJSON struct {
		CPU     float64 `json:"cpu"`
		Swing   float64 `json:"swing"`
		Period  string  `json:"period"`
		Network float64 `json:"network"`
		Disk    float64 `json:"disk"`
	}
	faultJSON struct {
		Op          Op       `json:"op"`
		Match       string   `json:"match"`
		Host        string   `json:"host"`
		Probability *float64 `json:"probability"`
		Count       int      `json:"count"`
		Effect      Effect   `json:"effect"`
		Kind        string   `json:"kind"`
		Code        string   `json:"code"`
		Message     string   `json:"message"`
	}
)

// mostHosts bounds a fleet, so that a slip of the pen does not eat the memory.
const mostHosts = 10_000

// Parse reads a population from JSON, such as
//
//	{"seed": 7,
//	 "hosts": [{"name": "rack", "count": 3, "zones": ["1", "2", "3"], "vCPUs": 64, "memoryMB": 262144}],
//	 "boot": {"base": "20s", "jitter": "5s", "shutdown": "5s"},
//	 "copy": "2s",
//	 "load": {"cpu": 30, "swing": 20, "period": "30m", "network": 1e6, "disk": 1e5},
//	 "faults": [{"op": "create", "match": "web_*", "probability": 0.1, "count": 3,
//	             "kind": "Exhausted", "code": "AllocationFailed", "message": "No room."}]}
//
// What is absent is as in Default; of a boot or load that is given, absent members
// are zero. Unknown members are refused. The error joins every problem, each of
// kind Invalid with the JSON path at fault.
func Parse(data []byte) (Population, error) {
	var file fileJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return Population{}, invalid("", "The population is not valid JSON of the known shape: %v.", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Population{}, invalid("", "The population is followed by something else.")
	}
	p := Default()
	var problems []error
	if file.Seed != nil {
		p.Seed = *file.Seed
	}
	if file.Boot != nil {
		p.Boot = file.Boot.parse(&problems)
	}
	if file.Load != nil {
		p.Load = file.Load.parse(&problems)
	}
	if file.Copy != "" {
		p.Copy = parseDuration("copy", file.Copy, &problems)
	}
	if file.Hosts != nil {
		p.Hosts = parseHosts(file.Hosts, &problems)
	}
	for i, f := range file.Faults {
		p.Faults = append(p.Faults, f.parse(fmt.Sprintf("faults[%d]", i), &problems))
	}
	if len(problems) > 0 {
		return Population{}, errors.Join(problems...)
	}
	return p, nil
}

func invalid(target, format string, args ...any) error {
	return resource.Errorf(resource.Invalid, "InvalidParameter", format, args...).At(target)
}

func parseDuration(target, s string, problems *[]error) time.Duration {
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 24*time.Hour {
		*problems = append(*problems, invalid(target, `The duration %q is not one from 0 to 24 hours, written as "20s".`, s))
	}
	return d
}

func (l loadJSON) parse(problems *[]error) Load {
	load := Load{CPU: l.CPU, Swing: l.Swing, Period: parseDuration("load.period", l.Period, problems), Network: l.Network, Disk: l.Disk}
	switch {
	case load.CPU < 0 || load.CPU > 100:
		*problems = append(*problems, invalid("load.cpu", "A load is a percentage from 0 to 100."))
	case load.Swing < 0 || load.CPU-load.Swing < 0 || load.CPU+load.Swing > 100:
		*problems = append(*problems, invalid("load.swing", "A load does not swing below 0 or above 100 percent."))
	case load.Swing > 0 && load.Period < time.Second:
		*problems = append(*problems, invalid("load.period", `A load that swings has a period of at least a second, such as "30m".`))
	case load.Network < 0 || load.Disk < 0:
		*problems = append(*problems, invalid("load", "Bytes a second are not negative."))
	}
	return load
}

func (b bootJSON) parse(problems *[]error) Boot {
	boot := Boot{
		Base:     parseDuration("boot.base", b.Base, problems),
		Jitter:   parseDuration("boot.jitter", b.Jitter, problems),
		Shutdown: parseDuration("boot.shutdown", b.Shutdown, problems),
	}
	if boot.Jitter > boot.Base {
		*problems = append(*problems, invalid("boot.jitter", "The jitter is longer than the base."))
	}
	return boot
}

func parseHosts(list []hostJSON, problems *[]error) (hosts []Host) {
	seen := map[string]bool{}
	for i, h := range list {
		target := fmt.Sprintf("hosts[%d]", i)
		if err := h.check(target, mostHosts-len(hosts)); err != nil {
			*problems = append(*problems, err)
			continue
		}
		like := Host{Name: h.Name, Zone: h.Zone, FaultDomain: h.FaultDomain, VCPUs: h.VCPUs, MemoryMB: h.MemoryMB}
		made := []Host{like}
		if h.Count != nil {
			made = Hosts(*h.Count, like, h.Zones...)
		}
		for _, host := range made {
			if seen[host.Name] {
				*problems = append(*problems, invalid(target+".name", "Two hosts are named %q.", host.Name))
			}
			seen[host.Name] = true
		}
		hosts = append(hosts, made...)
	}
	if len(list) == 0 {
		*problems = append(*problems, invalid("hosts", "A population has at least one host."))
	}
	return hosts
}

func (h hostJSON) check(target string, room int) error {
	switch {
	case h.Name == "":
		return invalid(target+".name", "A host needs a name.")
	case h.VCPUs <= 0:
		return invalid(target+".vCPUs", "A host has at least one vCPU.")
	case h.MemoryMB <= 0:
		return invalid(target+".memoryMB", "A host has at least one megabyte of memory.")
	case h.FaultDomain < 0:
		return invalid(target+".faultDomain", "A fault domain is a number from 0.")
	case h.Count != nil && (*h.Count < 1 || *h.Count > room):
		return invalid(target+".count", "A count is a number from 1, and a population has at most %d hosts.", mostHosts)
	case h.Count == nil && h.Zones != nil:
		return invalid(target+".zones", "Zones are dealt over a count of hosts; a single host has a zone.")
	case h.Zone != "" && h.Zones != nil:
		return invalid(target+".zone", "A host has a zone or zones, not both.")
	case h.Count == nil && room < 1:
		return invalid(target, "A population has at most %d hosts.", mostHosts)
	}
	return nil
}

func (f faultJSON) parse(target string, problems *[]error) Fault {
	refuse := func(member, format string, args ...any) {
		*problems = append(*problems, invalid(target+"."+member, format, args...))
	}
	fault := Fault{Op: f.Op, Match: f.Match, Host: f.Host, Count: f.Count, Effect: f.Effect, Code: f.Code, Message: f.Message}
	if !slices.Contains(ops, f.Op) {
		refuse("op", "The op %q is not one of %v.", f.Op, ops)
	}
	if _, err := path.Match(f.Match, ""); err != nil {
		refuse("match", "The pattern %q is malformed.", f.Match)
	}
	if _, err := path.Match(f.Host, ""); err != nil {
		refuse("host", "The pattern %q is malformed.", f.Host)
	}
	if f.Probability != nil {
		if fault.Probability = *f.Probability; !(fault.Probability > 0 && fault.Probability <= 1) {
			refuse("probability", "A probability is above 0 and at most 1.")
		}
	}
	if f.Count < 0 {
		refuse("count", "A count is a number from 0, which stands for no limit.")
	}
	if f.Effect != Nothing && f.Effect != Full && (f.Effect != Half || f.Op != Create && f.Op != Delete) {
		refuse("effect", `An effect is "" or "full", or "half" of a create or delete.`)
	}
	kinds := resource.Kinds()
	i := slices.IndexFunc(kinds, func(k resource.Kind) bool { return strings.EqualFold(k.String(), f.Kind) })
	switch {
	case i >= 0:
		fault.Kind = kinds[i]
	case f.Kind == "":
		fault.Kind = resource.Unavailable
	default:
		refuse("kind", "The kind %q is not one of %v.", f.Kind, kinds)
	}
	return fault
}

var ops = []Op{Create, Delete, Power, Refit, List, NoBoot, Hang}
