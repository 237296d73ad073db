//go:build e2e

package e2e

import (
	"encoding/json"
	"time"
)

// busy is the least that a processor shows that does nothing but count, on a
// machine that has other work, too.
const busy = 20

// metric is what az shows of a metric.
type metric struct {
	Unit       string
	Timeseries []struct{ Data []struct{ Average *float64 } }
}

// highest returns the highest of its values, 0 without any.
func (m metric) highest() (most float64) {
	for _, s := range m.Timeseries {
		for _, d := range s.Data {
			if d.Average != nil {
				most = max(most, *d.Average)
			}
		}
	}
	return most
}

// seesLoad keeps the processor of instance 0 busy and looks at it with the real
// az. The API is asked until it shows the load; az is asked once.
func (a *az) seesLoad(s *server, key string) {
	a.t.Helper()
	path, ip := sets+"web", s.address("web", "0")
	pid := ""
	s.eventually("ssh to make load", func() bool {
		out, err := s.ssh(key, ip, "sh -c 'while :; do :; done' >/dev/null 2>&1 </dev/null & echo $!")
		pid = out
		return err == nil && out != ""
	})
	defer func() {
		if out, err := s.ssh(key, ip, "kill "+pid); err != nil {
			a.t.Errorf("end the load: %v %s", err, out)
		}
	}()
	begin := time.Now()
	s.eventually("the metric to show the load", func() bool {
		_, _, answer := s.call("GET", s.endpoint+"/subscriptions/"+s.admin.SubscriptionID+path+
			"/providers/Microsoft.Insights/metrics?api-version=2018-01-01&metricnames=Percentage%20CPU", nil)
		raw, err := json.Marshal(answer)
		var list struct{ Value []metric }
		return err == nil && json.Unmarshal(raw, &list) == nil && len(list.Value) == 1 && list.Value[0].highest() >= busy
	})
	a.t.Logf("the load shows after %s; instances are measured every 10 s", time.Since(begin).Round(time.Second))

	var list struct{ Value []metric }
	a.json(&list, "monitor", "metrics", "list", "--resource", "/subscriptions/"+s.admin.SubscriptionID+path, "--metric", "Percentage CPU")
	if len(list.Value) != 1 || list.Value[0].Unit != "Percent" || list.Value[0].highest() < busy {
		a.t.Errorf("az monitor metrics list shows %+v, want one metric in percent of at least %d", list.Value, busy)
	}
}
