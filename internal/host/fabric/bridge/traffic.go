package bridge

import (
	"context"

	"github.com/vishvananda/netlink"
)

// Traffic returns how many bytes the guest's card at each port has received and
// sent since its tap was made. A port without a tap is left out.
func (f *Fabric) Traffic(ctx context.Context) (map[string][2]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return nil, err
	}
	var links []netlink.Link
	err := inside(f.ns, func() (err error) {
		links, err = netlink.LinkList()
		return err
	})
	if err != nil {
		return nil, explain(err, "list the taps")
	}
	statistics := map[string]*netlink.LinkStatistics{}
	for _, l := range links {
		statistics[l.Attrs().Name] = l.Attrs().Statistics
	}
	traffic := map[string][2]int64{}
	for _, l := range f.leases.sorted() {
		if s := statistics[tapOf(l.Port)]; s != nil {
			traffic[l.Port] = [2]int64{int64(s.TxBytes), int64(s.RxBytes)} // what the host sends, the guest receives
		}
	}
	return traffic, nil
}
