package image

import "strings"

// usualSizeGB is how large OS disks are in Azure, by OS type.
var usualSizeGB = map[string]int{linux: 30, windows: 127}

// marketplace are images that Azure has and the simulator pretends to have:
// those with an alias of `az`, under the names of 2022 and of 2023 on, and some
// that examples use. Their versions are plausible.
var marketplace = []struct {
	urn, aliases string // aliases have blanks between
}{
	{"OpenLogic:CentOS:7.5:7.5.201808150", "CentOS"},
	{"OpenLogic:CentOS:8_5-gen2:8.5.2022012101", "CentOS85Gen2"},
	{"Debian:debian-10:10:0.20230109.1255", "Debian"},
	{"Debian:debian-11:11-backports-gen2:0.20230124.1270", "Debian11"},
	{"Debian:debian-12:12-gen2:0.20240204.1647", ""},
	{"kinvolk:flatcar-container-linux-free:stable:3374.2.3", "Flatcar"},
	{"kinvolk:flatcar-container-linux-free:stable-gen2:3374.2.3", "FlatcarLinuxFreeGen2"},
	{"SUSE:opensuse-leap-15-3:gen2:2022.11.04", "openSUSE-Leap"},
	{"SUSE:openSUSE-leap-15-4:gen2:2022.11.04", "OpenSuseLeap154Gen2"},
	{"RedHat:RHEL:7-LVM:7.9.2022032206", "RHEL"},
	{"RedHat:RHEL:8-lvm-gen2:8.7.2023022813", "RHELRaw8LVMGen2"},
	{"SUSE:sles-15-sp3:gen2:2023.01.30", "SLES SuseSles15SP3"},
	{"Canonical:UbuntuServer:18.04-LTS:18.04.202302140", "UbuntuLTS"},
	{"Canonical:0001-com-ubuntu-server-focal:20_04-lts-gen2:20.04.202302090", ""},
	{"Canonical:0001-com-ubuntu-server-jammy:22_04-lts:22.04.202302140", ""},
	// Two versions, so that there is something to upgrade from.
	{"Canonical:0001-com-ubuntu-server-jammy:22_04-lts-gen2:22.04.202301140", "Ubuntu2204"},
	{"Canonical:0001-com-ubuntu-server-jammy:22_04-lts-gen2:22.04.202302140", "Ubuntu2204"},
	{"Canonical:ubuntu-24_04-lts:server:24.04.202410170", "Ubuntu2404"},
	{"MicrosoftWindowsServer:WindowsServer:2022-Datacenter:20348.1547.230207", ""},
	{"MicrosoftWindowsServer:WindowsServer:2022-datacenter-g2:20348.1547.230207", "Win2022Datacenter"},
	{"MicrosoftWindowsServer:WindowsServer:2022-datacenter-azure-edition-core:20348.1547.230207", "Win2022AzureEditionCore"},
	{"MicrosoftWindowsServer:WindowsServer:2019-Datacenter:17763.4010.230207", ""},
	{"MicrosoftWindowsServer:WindowsServer:2019-datacenter-gensecond:17763.4010.230207", "Win2019Datacenter"},
	{"MicrosoftWindowsServer:WindowsServer:2016-Datacenter:14393.5717.230207", ""},
	{"MicrosoftWindowsServer:WindowsServer:2016-datacenter-gensecond:14393.5717.230207", "Win2016Datacenter"},
	{"MicrosoftWindowsServer:WindowsServer:2012-R2-Datacenter:9600.20821.230206", "Win2012R2Datacenter"},
	{"MicrosoftWindowsServer:WindowsServer:2012-Datacenter:9200.24116.230206", "Win2012Datacenter"},
	{"MicrosoftWindowsServer:WindowsServer:2008-R2-SP1:7601.24561.200901", "Win2008R2SP1"},
}

// simulated returns the marketplace.
func simulated() []*entry {
	var all []*entry
	for _, m := range marketplace {
		image, err := parseURN(m.urn)
		if err != nil {
			panic(err)
		}
		image.OSType, image.NeedsCredentials = linux, true
		if strings.HasPrefix(image.Publisher, "Microsoft") {
			image.OSType = windows
		}
		all = append(all, &entry{image: image, aliases: strings.Fields(m.aliases)})
	}
	return all
}
