package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	connections = 16              // that ask at once, each for itself
	warmUp      = time.Second     // before answers count
	span        = 5 * time.Second // in which they do
)

// getRate measures P12: how often a server that has one core answers a GET of a
// scale set.
func (b *bench) getRate(ctx context.Context) (result, error) {
	s, err := b.launch(ctx, options{driver: "sim", env: []string{"GOMAXPROCS=1"}})
	if err != nil {
		return result{}, err
	}
	defer s.kill()
	if _, _, err := s.grow(ctx, "web", 3); err != nil {
		return result{}, err
	}
	apart, err := separate(s.cmd.Process.Pid)
	if err != nil {
		return result{}, err
	}
	var rates []int
	var tails, costs []time.Duration
	for range b.runs {
		before := used(s.cmd.Process.Pid)
		times, all, err := s.load(ctx, sets+"web?api-version="+computeVersion)
		if err != nil {
			return result{}, err
		}
		costs = append(costs, (used(s.cmd.Process.Pid)-before)/time.Duration(all))
		rates, tails = append(rates, int(float64(len(times))/span.Seconds())), append(tails, percentile(times, 0.99))
	}
	rate, p99, cost := median(rates), median(tails), max(median(costs), 1)
	return result{figure: fmt.Sprintf("%d requests/s, p99 %s", rate, millis(p99)), target: ">= 10000 requests/s, p99 < 5 ms", ok: rate >= 10_000 && p99 < 5*time.Millisecond,
		yardstick: fmt.Sprintf("GOMAXPROCS=1%s, %d connections, TLS, median of %d runs of %s; a request costs the server %d us of processor, so %d requests/s are a whole core",
			apart, connections, len(rates), span, cost.Microseconds(), time.Second/cost)}, nil
}

// separate gives the server the first processor, and the rest to this process,
// where there are two.
func separate(pid int) (string, error) {
	if runtime.NumCPU() < 2 {
		return "", nil
	}
	var first, rest unix.CPUSet
	first.Set(0)
	for i := 1; i < runtime.NumCPU(); i++ {
		rest.Set(i)
	}
	if err := affine(pid, first); err != nil {
		return "", err
	}
	return " on a processor of its own", affine(unix.Getpid(), rest)
}

// used returns how much processor time a process has had.
func used(pid int) time.Duration {
	const perSecond = 100 // USER_HZ, the same on every Linux
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var user, system int64 // in ticks
	_, rest, _ := strings.Cut(string(raw), ") ")
	if word := strings.Fields(rest); len(word) > 12 {
		_, _ = fmt.Sscan(word[11]+" "+word[12], &user, &system)
	}
	return time.Duration(user+system) * time.Second / perSecond
}

// load asks for a path below the subscription on several connections and
// returns how long the answers took, and how many there were with those that
// came while it warmed up.
func (s *server) load(ctx context.Context, path string) (times []time.Duration, n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, warmUp+span)
	defer cancel()
	host := strings.TrimPrefix(s.endpoint, "https://")
	request := fmt.Sprintf("GET /subscriptions/%s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", s.subscription, path, host, s.token)
	config := s.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		count int
		fail  error
	)
	from := time.Now().Add(warmUp)
	for range connections {
		wg.Go(func() {
			some, n, err := ask(ctx, host, config, request, from)
			mu.Lock()
			defer mu.Unlock()
			all, count, fail = append(all, some...), count+n, errors.Join(fail, err)
		})
	}
	wg.Wait()
	if fail == nil && len(all) == 0 {
		fail = errors.New("no answer came")
	}
	return all, count, fail
}

// ask makes one request after the other until ctx is done. Package net/http
// would cost this side more than the other.
func ask(ctx context.Context, host string, config *tls.Config, request string, from time.Time) (times []time.Duration, n int, err error) {
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, 0, err
	}
	defer plain.Close()
	config.ServerName, _, _ = net.SplitHostPort(host)
	conn := tls.Client(plain, config)
	in := bufio.NewReaderSize(conn, 16<<10)
	for ctx.Err() == nil {
		begin := time.Now()
		if _, err := io.WriteString(conn, request); err != nil {
			return nil, 0, err
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return nil, 0, err
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return nil, 0, err
		}
		if res.StatusCode != http.StatusOK {
			return nil, 0, fmt.Errorf("GET %s: %s", host, res.Status)
		}
		n++
		if begin.After(from) {
			times = append(times, time.Since(begin))
		}
	}
	return times, n, nil
}
