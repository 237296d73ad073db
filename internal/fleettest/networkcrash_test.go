package fleettest_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/network"
)

// networkStory is what a user does with a network, as the crash story is without.
type networkStory struct {
	*story
	*lab
	uid    network.UID
	public netip.Addr
}

func (s *networkStory) tell() {
	s.step("group", s.createGroup)
	s.step("security group", func() error { return s.putGroup("nsg", allow("http", 200, "8080"), allow("ssh", 210, "22")) })
	s.step("network", func() (err error) { s.uid, err = s.putNetwork(s.subnet("web", "10.1.0.0/24", "nsg")); return err })
	s.step("public address", func() (err error) { s.public, err = s.putPublic(); return err })
	s.step("load balancer", func() error { return s.putBalancer(s.balancer(0)) })
	s.step("create", func() error { return s.putSet("web", s.behind(2)) })
	s.members(s.uid, s.public, 2)
	s.step("scale in", func() error { return s.putSet("web", fleettest.Capacity(1)) })
	s.members(s.uid, s.public, 1)
	s.step("delete the set", func() error { _, err := end(s.story.c.Sets.BeginDelete(s.story.ctx, "lab", "web", nil)); return err })
	s.step("delete the load balancer", func() error {
		_, err := end(s.story.c.Nets.NewLoadBalancersClient().BeginDelete(s.story.ctx, "lab", "lb", nil))
		return err
	})
	s.step("delete the group", func() error {
		for {
			err := s.deleteGroup()
			switch {
			case err == nil || refusedWith(err, "ResourceGroupNotFound"):
				return nil
			case !refusedWith(err, "ResourceGroupBeingDeleted"):
				return err
			}
			time.Sleep(time.Second)
		}
	})
}

// TestADeathWhileNetworksAreMadeLosesLeaksAndDoublesNothing kills the control plane
// at every second call of the store, a driver or the fabric, before the call or
// between the call and its answer, and expects the story to end as if nothing had
// happened.
func TestADeathWhileNetworksAreMadeLosesLeaksAndDoublesNothing(t *testing.T) {
	calls := 0
	for _, after := range []bool{false, true} {
		for n, died := 1, true; died && !t.Failed(); n += 2 { // a death before a call is much like one after the call before it
			synctest.Test(t, func(t *testing.T) {
				fuse := fleettest.NewFuse(n, after)
				plain := crashStory(t, fuse, fleettest.Options{Fabric: fuse.Fabric})
				s := &networkStory{story: plain, lab: &lab{T: t, ctx: plain.ctx, f: plain.f, c: plain.c}}
				defer func() {
					if t.Failed() {
						t.Logf("killed at call %d, answer lost %t", n, after)
					}
				}()
				s.tell()
				died, calls = s.fuse.Calls() >= n, max(calls, s.fuse.Calls())
				if s.fuse.Dead() {
					s.restart()
				}
				time.Sleep(30 * time.Minute) // for garbage
				s.nothing()
			})
		}
	}
	t.Logf("the story makes about %d calls", calls)
}
