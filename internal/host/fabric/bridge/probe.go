package bridge

import (
	"errors"
	"io/fs"

	"github.com/vishvananda/netns"
)

// Features is what a host offers to a network. A nil error is a feature that is
// there; the others name the remedy.
type Features struct {
	Taps       error // /dev/net/tun
	Namespaces error
	Rules      error // nftables; nil, too, if it could not be tried without namespaces
	Unasked    bool  // this process lacks the right to try namespaces and rules
}

// Probe tries what Open needs, in a namespace of its own that is gone when it
// returns. Nothing on the host is changed.
func Probe() Features {
	f := Features{Taps: needTun()}
	f.Namespaces = aside(func() error {
		ns, err := netns.New()
		if err != nil {
			return err
		}
		defer ns.Close() //nolint:errcheck // nobody holds it: it ends
		f.Rules = explainRules(program(hostRules(namesOf("probe"), DefaultPrefix), innerRules(DefaultPrefix, DefaultPrefix.Addr().Next()), guardRules(nil)), "in a trial namespace")
		return nil
	})
	f.Unasked = errors.Is(f.Namespaces, fs.ErrPermission)
	f.Namespaces = explain(f.Namespaces, "make a network namespace")
	return f
}
