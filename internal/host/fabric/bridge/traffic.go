package bridge

import (
	"context"
	"maps"
	"slices"

	"github.com/vishvananda/netlink"
)

// Bytes returns how many bytes the guest's card at each port has received and sent
// since its tap was made, in all networks. A port without a tap is left out.
func (f *Fabric) Bytes(ctx context.Context) (map[string][2]int64, error) {
	traffic := map[string][2]int64{}
	f.mu.Lock()
	err := f.ready(ctx)
	if err == nil {
		err = f.inside(func() error { return count(traffic, f.ports()) })
	}
	networks := slices.Collect(maps.Values(f.networks))
	f.mu.Unlock()
	for _, v := range networks {
		v.mu.Lock()
		if known := v.known.Load(); err == nil && known != nil && !v.gone {
			err = v.inside(func() error { return count(traffic, slices.Collect(maps.Keys(known.cards))) })
		}
		v.mu.Unlock()
	}
	return traffic, explain(err, "list the taps")
}

// count adds what the taps of ports in the thread's namespace have carried.
func count(traffic map[string][2]int64, ports []string) error {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return err
	}
	statistics := map[string]*netlink.LinkStatistics{}
	for _, l := range links {
		statistics[l.Attrs().Name] = l.Attrs().Statistics
	}
	for _, port := range ports {
		if s := statistics[tapOf(port)]; s != nil {
			traffic[port] = [2]int64{int64(s.TxBytes), int64(s.RxBytes)} // what the host sends, the guest receives
		}
	}
	return nil
}
