package args_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-vm/muster/internal/host/compute/qemu/args"
)

var update = flag.Bool("update", false, "rewrite golden files")

var (
	osDisk    = args.Disk{ID: "os", Path: "/var/lib/muster/disks/a,b/os.qcow2", Format: "qcow2", Serial: "os"}
	ephemeral = args.Disk{ID: "os", Path: "os.qcow2", Format: "qcow2", Serial: "os", Volatile: true}
	seed      = args.Disk{ID: "seed", Path: "seed.iso", Format: "raw", Serial: "seed", ReadOnly: true}
)

// config returns a configuration with the members that every machine has.
func config(change func(*args.Config)) args.Config {
	c := args.Config{
		Name: "web_3", Accel: "tcg,thread=multi,tb-size=32", VCPUs: 2, MemoryMB: 512,
		Disks: []args.Disk{osDisk, seed},
		QMP:   "qmp.sock", Agent: "agent.sock", Serial: "serial.log", Console: "serial.sock", PIDFile: "1.pid",
	}
	change(&c)
	return c
}

var configs = map[string]args.Config{
	"disk-boot": config(func(c *args.Config) {}),
	"kernel-boot": config(func(c *args.Config) {
		c.Kernel = &args.Kernel{Image: "/images/vmlinux", Initrd: "/images/initrd", CommandLine: "console=ttyS0 root=/dev/vda"}
		c.Tags = []string{"id=/subscriptions/s/web/3", "host=web,3"}
	}),
	"kvm-with-cards-and-data": config(func(c *args.Config) {
		c.Accel, c.UUID = "kvm", "00000000-0000-8000-8000-000000000001"
		c.Cards = []args.Card{{MAC: "02:00:00:00:00:01", FD: 3}, {MAC: "02:00:00:00:00:02"}}
		c.Disks = []args.Disk{osDisk, {ID: "lun0", Path: "data-0.qcow2", Format: "qcow2", Serial: "lun0"}, seed}
	}),
	"ephemeral": config(func(c *args.Config) { c.Disks = []args.Disk{ephemeral, seed} }),
}

func TestCommandLineMatchesItsGoldenFile(t *testing.T) {
	for name, c := range configs {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for i, word := range args.Build(c) {
				switch {
				case i == 0:
				case strings.HasPrefix(word, "-"):
					b.WriteString("\n")
				default:
					b.WriteString(" ")
				}
				b.WriteString(word)
			}
			got, path := b.String()+"\n", filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run with -update if this is meant (-want +got):\n%s", diff)
			}
		})
	}
}

// TestADiskIsTheSameHotAndCold compares what the control socket takes with the
// command line's options.
func TestADiskIsTheSameHotAndCold(t *testing.T) {
	for _, d := range []args.Disk{
		{ID: "lun3", Path: "/disks/data-3.qcow2", Format: "qcow2", Serial: "lun3"},
		{ID: "lun4", Path: "/disks/data-4.raw", Format: "raw", Serial: "lun4", ReadOnly: true},
		{ID: "lun5", Path: "/disks/data-5.qcow2", Format: "qcow2", Serial: "lun5", Volatile: true},
	} {
		cold := args.Build(config(func(c *args.Config) { c.Disks = append(c.Disks, d) }))
		cold = cold[len(cold)-4:]
		plug := d.Plug()
		plug[""] = plug["driver"] // its key is left out on the command line
		delete(plug, "driver")
		for i, object := range map[int]map[string]any{1: d.Node(), 3: plug} {
			want, got := strings.Split(cold[i], ","), options("", object)
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-cold +hot):\n%s", d.ID, diff)
			}
		}
	}
}

// options writes an object in the syntax of the command line.
func options(prefix string, object map[string]any) (all []string) {
	for key, value := range object {
		switch v := value.(type) {
		case map[string]any:
			all = append(all, options(prefix+key+".", v)...)
		case bool:
			all = append(all, prefix+key+"=on")
		case string:
			all = append(all, strings.TrimPrefix(prefix+key+"="+v, "="))
		}
	}
	return all
}

func TestNoValueSplitsAnOption(t *testing.T) {
	for _, evil := range []string{"a,readonly=off", ",,", "x,mac=00:00:00:00:00:00"} {
		c := config(func(c *args.Config) {
			c.Name, c.Tags, c.QMP, c.Agent, c.Serial, c.Console = evil, []string{evil}, evil, evil, evil, evil
			c.Disks[0].Path = evil
		})
		for _, word := range args.Build(c) {
			if strings.Contains(strings.ReplaceAll(word, strings.ReplaceAll(evil, ",", ",,"), ""), evil) {
				t.Errorf("%q is in %q as it is", evil, word)
			}
		}
	}
}

func TestBuildIsAFunctionOfTheConfig(t *testing.T) {
	for name, c := range configs {
		if !slices.Equal(args.Build(c), args.Build(c)) {
			t.Errorf("%s: two builds differ", name)
		}
	}
}
