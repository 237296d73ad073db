package volume

import (
	"net/netip"
	"net/url"
	"testing"
)

func TestPublicAddressesAreThoseOfTheInternetAtLarge(t *testing.T) {
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "140.82.121.3", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1"} {
		if !public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not public", a)
		}
	}
	for _, a := range []string{"127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "168.63.129.16", "100.64.0.1", "0.0.0.0", "0.1.2.3",
		"224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "2002:7f00:1::", "2001::1", "64:ff9b::7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "fec0::1"} {
		if public(netip.MustParseAddr(a)) {
			t.Errorf("%s is public", a)
		}
	}
}

func TestHostsAreNamedExactlyBySuffixOrWithAPort(t *testing.T) {
	for _, tt := range []struct {
		hosts []string
		uri   string
		want  bool
	}{
		{nil, "http://a/x", false},
		{[]string{"images.lab"}, "https://IMAGES.lab./x", true},
		{[]string{"images.lab"}, "https://other.images.lab/x", false},
		{[]string{"*.lab"}, "https://images.lab/x", true},
		{[]string{"*.lab"}, "https://a.b.lab:8080/x", true},
		{[]string{"*.lab"}, "https://lab/x", false},
		{[]string{"*.lab"}, "https://evillab/x", false},
		{[]string{"a:443"}, "https://a/x", true},
		{[]string{"a:443"}, "http://a/x", false},
		{[]string{"a:80", "b:8080"}, "http://b:8080/x", true},
		{[]string{"10.0.0.1"}, "http://10.0.0.1:81/x", true},
		{[]string{"[fd00::1]:80"}, "http://[fd00::1]/x", true},
		{[]string{"fd00::1"}, "http://[fd00::1]/x", true},
	} {
		u, err := url.Parse(tt.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Import{Hosts: tt.hosts}).names(u); got != tt.want {
			t.Errorf("%v name %s: %t", tt.hosts, tt.uri, got)
		}
		for _, host := range tt.hosts {
			if err := CheckHost(host); err != nil {
				t.Error(err)
			}
		}
	}
	for _, bad := range []string{"", "*", "*.", "http://a", "a/b", "a:b", "a:", "u@a", "a b", "a*", "[fd00::1"} {
		if CheckHost(bad) == nil {
			t.Errorf("%q is taken for a host", bad)
		}
	}
}
