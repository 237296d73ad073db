package volume

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/muster-vm/muster/internal/resource"
)

// transport makes requests, and every redirect of them, by the rule for its
// host. To hosts that the operator named they go through the proxy of the
// environment, if there is one, and to any address. To all others they go
// directly, and to public addresses only: a proxy would resolve the name itself,
// and what it finds could not be checked.
func (i Import) transport() http.RoundTripper {
	guarded := &net.Dialer{Timeout: connectLimit, Control: refusePrivate}
	free := &net.Dialer{Timeout: connectLimit}
	return byHost{i, newTransport(http.ProxyFromEnvironment, free), newTransport(nil, guarded)}
}

func newTransport(proxy func(*http.Request) (*url.URL, error), dial *net.Dialer) *http.Transport {
	return &http.Transport{Proxy: proxy, DialContext: dial.DialContext, TLSHandshakeTimeout: connectLimit, ResponseHeaderTimeout: answerLimit,
		DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
}

// byHost chooses a transport for each request.
type byHost struct {
	rules         Import
	named, others http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.rules.names(r.URL) {
		return b.named.RoundTrip(r)
	}
	return b.others.RoundTrip(r)
}

// names reports whether the operator named a URI's host.
func (i Import) names(u *url.URL) bool {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return slices.ContainsFunc(i.Hosts, func(host string) bool {
		host = strings.ToLower(host)
		if h, p, err := net.SplitHostPort(host); err == nil {
			if p != port {
				return false
			}
			host = h
		}
		suffix, wild := strings.CutPrefix(host, "*.")
		return strings.Trim(host, "[]") == name || wild && strings.HasSuffix(name, "."+suffix)
	})
}

// CheckHost fails with Invalid for what names no host in Import.Hosts.
func CheckHost(host string) error {
	name := host
	if h, p, err := net.SplitHostPort(host); err == nil {
		if name = h; p == "" || strings.Trim(p, "0123456789") != "" {
			name = ""
		}
	}
	name = strings.TrimPrefix(name, "*.")
	bare := name
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		bare = name[1 : len(name)-1]
	}
	if _, err := netip.ParseAddr(bare); err == nil {
		return nil
	}
	if name == "" || strings.ContainsAny(name, "*/:@?#[] ") {
		return resource.Errorf(resource.Invalid, "InvalidConfig", "%q is not a host's name, *.suffix or address, with or without :port.", host)
	}
	return nil
}

// checkRedirect bounds where a server may send a download.
func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > redirects:
		return refused(first, fmt.Sprintf("the server redirects more than %d times", redirects))
	case r.URL.User != nil:
		return refused(first, "the server redirects to a URI with credentials")
	case via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https":
		return refused(first, "the server redirects from https to "+r.URL.Scheme)
	case r.URL.Scheme != "https" && r.URL.Scheme != "http":
		return refused(first, "the server redirects to "+r.URL.Scheme)
	}
	return nil
}

// refusePrivate ends a connection before it is made, unless it is to a public
// address. It sees what the name was resolved to, so that no name gets around it.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && public(at.Addr()) {
		return nil
	}
	return resource.Errorf(resource.Forbidden, "FileNotAllowed", "The file was not downloaded: its host has the address %s, which is not a public one. "+
		"Name the host in images.hosts in the server's config if it may be used.", at.Addr())
}

// special are networks that are no public destination, beside those that package
// netip knows.
//
// Source: the special-purpose address registries of the IANA; 168.63.129.16 is a
// service of Azure's to its own machines.
var special = prefixes("0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

// internet is all of IPv6 that is given out.
var internet = netip.MustParsePrefix("2000::/3")

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// public reports whether an address is one of the internet at large.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !internet.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
