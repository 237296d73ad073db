package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-vm/muster/internal/cli/card"
	"github.com/muster-vm/muster/internal/cli/output"
)

// options are the values of all options that commands take.
type options struct {
	Output, Query, Subscription string // every command
	OnlyErrors                  bool

	Group, Name, Location   string
	InstanceID              []string
	InstanceIDs             []string
	NoWait, Yes, All, Exist bool
	Set, Tags, Zones        []string

	Created, Updated, Deleted bool
	Custom                    string
	Interval, Timeout         int

	Capacity, Instances                 int64
	Image, Size, Admin, AdminPassword   string
	Prefix, CustomData, Mode            string
	Keys                                []string
	Publisher, Offer, SKU, Version, URN string
	Type, Tag                           string
	Username, Password, Tenant, CA      string
	Endpoint, State                     string
	ServicePrincipal, SkipShutdown      bool

	Source, StorageSKU, Zone, OSType, Disk, Caching string
	SizeGB, LUN                                     int

	Resource, Provider, Parent, Namespace string
	Metrics, Aggregation, Dimension       []string
	Grain, StartTime, EndTime, Offset     string
	Top, OrderBy, Filter                  string
	Metadata                              bool

	Card card.Options

	Login, Listen string
	Port          uint16
	Identity      []string
	rest          []string // for the program that the command runs
}

// option registers one option; its names are az's.
type option func(f *pflag.FlagSet, o *options)

func str(p func(*options) *string, name, letter, value, help string) option {
	return func(f *pflag.FlagSet, o *options) { f.StringVarP(p(o), name, letter, value, help) }
}

func words(p func(*options) *[]string, name, letter, help string) option {
	return func(f *pflag.FlagSet, o *options) { f.StringArrayVarP(p(o), name, letter, nil, help) }
}

func yes(p func(*options) *bool, name, letter, help string) option {
	return func(f *pflag.FlagSet, o *options) { f.BoolVarP(p(o), name, letter, false, help) }
}

// optionTable: each has one meaning in all commands that take it.
var optionTable = map[string]option{
	"resource-group": str(func(o *options) *string { return &o.Group }, "resource-group", "g", "", "Name of the resource group"),
	"name":           str(func(o *options) *string { return &o.Name }, "name", "n", "", "Name of the resource"),
	"vmss-name":      str(func(o *options) *string { return &o.Name }, "vmss-name", "", "", "Name of the scale set"),
	"group-name":     str(func(o *options) *string { return &o.Group }, "name", "n", "", "Name of the resource group"),
	"location":       str(func(o *options) *string { return &o.Location }, "location", "l", "", "Location"),
	"instance-id":    words(func(o *options) *[]string { return &o.InstanceID }, "instance-id", "", "Id of an instance"),
	"instance-ids":   words(func(o *options) *[]string { return &o.InstanceIDs }, "instance-ids", "", "Ids of instances, separated by spaces, or * for all"),
	"no-wait":        yes(func(o *options) *bool { return &o.NoWait }, "no-wait", "", "Do not wait for the operation to end"),
	"yes":            yes(func(o *options) *bool { return &o.Yes }, "yes", "y", "Do not ask for confirmation"),
	"set":            words(func(o *options) *[]string { return &o.Set }, "set", "", "Members to change, as path=value: upgradePolicy.mode=Automatic tags.team=web"),
	"tags":           words(func(o *options) *[]string { return &o.Tags }, "tags", "", "Tags, as key=value, separated by spaces; '' for none"),
	"zones":          words(func(o *options) *[]string { return &o.Zones }, "zones", "z", "Zones, separated by spaces"),
	"created":        yes(func(o *options) *bool { return &o.Created }, "created", "", "Wait until it is created: provisioningState is Succeeded"),
	"updated":        yes(func(o *options) *bool { return &o.Updated }, "updated", "", "Wait until it is updated: provisioningState is Succeeded"),
	"deleted":        yes(func(o *options) *bool { return &o.Deleted }, "deleted", "", "Wait until it is gone"),
	"exists":         yes(func(o *options) *bool { return &o.Exist }, "exists", "", "Wait until it exists"),
	"custom":         str(func(o *options) *string { return &o.Custom }, "custom", "", "", "Wait until this JMESPath query answers something"),
	"interval":       func(f *pflag.FlagSet, o *options) { f.IntVar(&o.Interval, "interval", 30, "Seconds between looks") },
	"timeout":        func(f *pflag.FlagSet, o *options) { f.IntVar(&o.Timeout, "timeout", 3600, "Seconds to wait at most") },
	"new-capacity":   func(f *pflag.FlagSet, o *options) { f.Int64Var(&o.Capacity, "new-capacity", 0, "How many instances") },
	"instance-count": func(f *pflag.FlagSet, o *options) {
		f.Int64Var(&o.Instances, "instance-count", 2, "How many instances")
	},
	"image":              str(func(o *options) *string { return &o.Image }, "image", "", "", "Image, as publisher:offer:sku:version, or a resource id"),
	"vm-sku":             str(func(o *options) *string { return &o.Size }, "vm-sku", "", "Standard_DS1_v2", "Size of the instances"),
	"admin-username":     str(func(o *options) *string { return &o.Admin }, "admin-username", "", "azureuser", "User that is made in the instances"),
	"admin-password":     str(func(o *options) *string { return &o.AdminPassword }, "admin-password", "", "", "Password of that user; as with every option, @FILE reads it from a file"),
	"computer-prefix":    str(func(o *options) *string { return &o.Prefix }, "computer-name-prefix", "", "", "First part of host names (default the scale set's name)"),
	"ssh-key-values":     words(func(o *options) *[]string { return &o.Keys }, "ssh-key-values", "", "Public keys, or files that hold one, separated by spaces"),
	"custom-data":        str(func(o *options) *string { return &o.CustomData }, "custom-data", "", "", "cloud-init's user data: a file, or the text"),
	"upgrade-mode":       str(func(o *options) *string { return &o.Mode }, "upgrade-policy-mode", "", "Manual", "Automatic, Manual or Rolling"),
	"skip-shutdown":      yes(func(o *options) *bool { return &o.SkipShutdown }, "skip-shutdown", "", "Cut the power"),
	"publisher":          str(func(o *options) *string { return &o.Publisher }, "publisher", "p", "", "Publisher of the image"),
	"offer":              str(func(o *options) *string { return &o.Offer }, "offer", "f", "", "Offer of the image"),
	"sku":                str(func(o *options) *string { return &o.SKU }, "sku", "s", "", "SKU of the image"),
	"version":            str(func(o *options) *string { return &o.Version }, "version", "", "latest", "Version of the image"),
	"urn":                str(func(o *options) *string { return &o.URN }, "urn", "u", "", "publisher:offer:sku:version, instead of the four options"),
	"all":                yes(func(o *options) *bool { return &o.All }, "all", "", "As az: ask the server, which muster always does"),
	"resource-type":      str(func(o *options) *string { return &o.Type }, "resource-type", "", "", "Only resources of this type"),
	"tag":                str(func(o *options) *string { return &o.Tag }, "tag", "", "", "Only those with this tag, as key or key=value"),
	"service-principal":  yes(func(o *options) *bool { return &o.ServicePrincipal }, "service-principal", "", "Log in as a service principal"),
	"username":           str(func(o *options) *string { return &o.Username }, "username", "u", "", "Id of the service principal"),
	"password":           str(func(o *options) *string { return &o.Password }, "password", "p", "", "Its secret; @FILE reads it from a file; asked for if absent"),
	"tenant":             str(func(o *options) *string { return &o.Tenant }, "tenant", "t", "", "Tenant of the service principal"),
	"ca":                 str(func(o *options) *string { return &o.CA }, "ca", "", "", "File of the CA that signed the server's certificate (default the system's)"),
	"endpoint":           str(func(o *options) *string { return &o.Endpoint }, "endpoint", "", "https://localhost:8443", "Where the server listens"),
	"state":              str(func(o *options) *string { return &o.State }, "state", "", "", "State directory of a server on this machine, instead of all the others"),
	"resource":           str(func(o *options) *string { return &o.Resource }, "resource", "", "", "Id of the resource, or its name with --resource-group and --resource-type"),
	"resource-namespace": str(func(o *options) *string { return &o.Provider }, "resource-namespace", "", "", "Provider of the resource, such as Microsoft.Compute"),
	"resource-parent":    str(func(o *options) *string { return &o.Parent }, "resource-parent", "", "", "Path of the resource's parent, such as virtualMachineScaleSets/web"),
	"namespace":          str(func(o *options) *string { return &o.Namespace }, "namespace", "", "", "Namespace of the metrics"),
	"metrics": func(f *pflag.FlagSet, o *options) {
		f.StringArrayVar(&o.Metrics, "metrics", nil, "Names of metrics, each in quotes, separated by spaces (default the first one)")
		f.StringArrayVar(&o.Metrics, "metric", nil, "")
		f.Lookup("metric").Hidden = true
	},
	"aggregation": words(func(o *options) *[]string { return &o.Aggregation }, "aggregation", "", "Average, Minimum, Maximum, Total, Count; separated by spaces"),
	"dimension":   words(func(o *options) *[]string { return &o.Dimension }, "dimension", "", "Dimensions to split by, such as VMName"),
	"grain":       str(func(o *options) *string { return &o.Grain }, "interval", "", "", "Length of a grain, such as 1m"),
	"start-time":  str(func(o *options) *string { return &o.StartTime }, "start-time", "", "", "Begin of the time asked for (UTC)"),
	"end-time":    str(func(o *options) *string { return &o.EndTime }, "end-time", "", "", "End of it (default now)"),
	"offset":      str(func(o *options) *string { return &o.Offset }, "offset", "", "1h", "Length of it, where only one end is given"),
	"top":         str(func(o *options) *string { return &o.Top }, "top", "", "", "How many series at most, with --filter"),
	"orderby":     str(func(o *options) *string { return &o.OrderBy }, "orderby", "", "", "Order of series, such as 'average desc'"),
	"filter":      str(func(o *options) *string { return &o.Filter }, "filter", "", "", "Which series, such as \"VMName eq 'web_0'\""),
	"metadata":    yes(func(o *options) *bool { return &o.Metadata }, "metadata", "", "Only which series there are"),
	"login":       str(func(o *options) *string { return &o.Login }, "login", "l", "", "User to log in as (default the administrator of the model)"),
	"identity":    words(func(o *options) *[]string { return &o.Identity }, "identity", "i", "File of the private key to log in with"),
	"listen":      str(func(o *options) *string { return &o.Listen }, "listen", "", "", "Take connections at this address, such as 127.0.0.1:8080, instead of the standard input"),
	"port":        func(f *pflag.FlagSet, o *options) { f.Uint16VarP(&o.Port, "port", "p", 22, "TCP port of the instance") },
	"source":      str(func(o *options) *string { return &o.Source }, "source", "", "", "What it is made from: id or name of a disk, snapshot or image, id of an instance, or file:///... or https://...#sha256=..."),
	"size-gb": func(f *pflag.FlagSet, o *options) {
		f.IntVarP(&o.SizeGB, "size-gb", "z", 0, "Size in GB (default that of the source)")
	},
	"storage-sku": str(func(o *options) *string { return &o.StorageSKU }, "sku", "", "", "Type of storage, such as Premium_LRS"),
	"zone":        str(func(o *options) *string { return &o.Zone }, "zone", "", "", "Zone"),
	"os-type":     str(func(o *options) *string { return &o.OSType }, "os-type", "", "", "Linux or Windows"),
	"disk":        str(func(o *options) *string { return &o.Disk }, "disk", "", "", "Name or id of the managed disk"),
	"lun": func(f *pflag.FlagSet, o *options) {
		f.IntVar(&o.LUN, "lun", -1, "Place of the disk, from 0 (default the first free one)")
	},
	"caching":          str(func(o *options) *string { return &o.Caching }, "caching", "", "", "None, ReadOnly or ReadWrite"),
	"vnet-name":        str(func(o *options) *string { return &o.Card.VirtualNetwork }, "vnet-name", "", "", "Name of the virtual network"),
	"subnet":           str(func(o *options) *string { return &o.Card.Subnet }, "subnet", "", "", "Name or id of the subnet (default the only one)"),
	"lb":               str(func(o *options) *string { return &o.Card.LoadBalancer }, "lb", "", "", "Name or id of the load balancer in front of the instances"),
	"backend-pool":     str(func(o *options) *string { return &o.Card.BackendPool }, "backend-pool-name", "", "", "Its backend pool (default the only one)"),
	"nat-pool":         str(func(o *options) *string { return &o.Card.NATPool }, "nat-pool-name", "", "", "Its inbound NAT pool (default the only one)"),
	"nsg":              str(func(o *options) *string { return &o.Card.SecurityGroup }, "nsg", "", "", "Name or id of the security group of the instances"),
	"asgs":             words(func(o *options) *[]string { return &o.Card.Apps }, "asgs", "", "Names or ids of application security groups"),
	"public-ip-per-vm": yes(func(o *options) *bool { return &o.Card.PublicAddress }, "public-ip-per-vm", "", "Give each instance a public address"),
	"name-or-id": func(f *pflag.FlagSet, o *options) {
		f.StringVarP(&o.Subscription, "name", "n", "", "Name or id of the subscription")
		f.Lookup("name").Hidden = true
	},
}

// register adds a row's options and those that all commands have. It returns
// the names of those that are required.
func (c *call) register(cmd *cobra.Command, row command) (required []string) {
	f := cmd.Flags()
	c.flags = f
	for name := range strings.FieldsSeq(row.takes) {
		name, must := strings.CutSuffix(name, "!")
		fresh := pflag.NewFlagSet("", pflag.ContinueOnError)
		if own := row.own[name]; own != nil {
			own(fresh)
		} else {
			optionTable[name](fresh, &c.options)
		}
		f.AddFlagSet(fresh)
		if must {
			fresh.VisitAll(func(flag *pflag.Flag) { required = append(required, flag.Name) })
		}
	}
	letter := ""
	if f.ShorthandLookup("s") == nil && strings.Contains(row.takes, "name-or-id") {
		letter = "s"
	}
	format := "json"
	if row.text != nil {
		format = "text"
	}
	f.StringVarP(&c.Output, "output", "o", format, "Output format: "+strings.Join(output.Formats, ", "))
	f.StringVar(&c.Query, "query", "", "JMESPath query over the result")
	f.StringVarP(&c.Subscription, "subscription", letter, "", "Name or id of the subscription (default that of the context)")
	f.BoolVar(&c.OnlyErrors, "only-show-errors", false, "Say nothing but errors")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if other, ok := row.aliases[name]; ok {
			name = other
		}
		return pflag.NormalizedName(name)
	})
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(toCompletions(output.Formats), cobra.ShellCompDirectiveNoFileComp))
	return required
}

func toCompletions(words []string) []cobra.Completion { return words }

// many are the options that take words up to the next option, as in az.
var many = []string{"--instance-ids", "--instance-id", "--set", "--tags", "--zones", "-z", "--ssh-key-values",
	"--metrics", "--metric", "--aggregation", "--dimension", "--zone", "--asgs",
	"--address-prefixes", "--address-prefix", "--subnet-prefixes", "--subnet-prefix", "--dns-servers", "--public-ip-addresses",
	"--source-address-prefixes", "--source-port-ranges", "--source-asgs", "--destination-address-prefixes", "--destination-port-ranges", "--destination-asgs"}

// Args gives each of the words after an option that takes many of them the
// option's name, as Go's flags want it: `--instance-ids 0 1` becomes
// `--instance-ids 0 --instance-ids 1`. A word @FILE becomes what the file holds.
// Words after -- stay as they are.
func Args(args []string) []string {
	var all []string
	args = slices.Clone(args)
	var rest []string // is not for muster
	if i := slices.Index(args, "--"); i >= 0 {
		args, rest = args[:i], args[i:]
	}
	for i := range args {
		args[i] = expanded(args[i])
	}
	for i := 0; i < len(args); i++ {
		if !slices.Contains(many, args[i]) {
			all = append(all, args[i])
			continue
		}
		name := args[i]
		if i+1 == len(args) || strings.HasPrefix(args[i+1], "-") {
			all = append(all, name)
			continue
		}
		for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			all = append(all, name, args[i])
		}
	}
	return append(all, rest...)
}

// expanded is what the file holds that a word of the form @FILE names, without a
// line feed at its end; or else the word.
func expanded(word string) string {
	path, ok := strings.CutPrefix(word, "@")
	if !ok {
		return word
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return word
	}
	return strings.TrimSuffix(string(raw), "\n")
}

// ids are the instances that the command names.
func (o *options) ids() []string { return append(slices.Clone(o.InstanceIDs), o.InstanceID...) }

// tagged turns --tags into tags.
func (o *options) tagged() (map[string]*string, bool) {
	if o.Tags == nil {
		return nil, false
	}
	tags := map[string]*string{}
	for _, t := range o.Tags {
		if key, value, _ := strings.Cut(t, "="); key != "" {
			tags[key] = &value
		}
	}
	return tags, true
}

// content is what a file holds, or the word itself where there is no such file.
func content(word string) string {
	if raw, err := os.ReadFile(word); err == nil {
		return string(raw)
	}
	return word
}
