package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// The programs that P9 and P11 run in namespaces are this one, in a role.
const (
	roleEnv    = "MUSTER_BENCH_ROLE"
	roleAnswer = "answer" // requests to the address in the argument
	roleAsk    = "ask"    // at the addresses in the arguments in turn
	roleGovern = "govern" // loads rules
	roleCall   = "call"   // connects to the address in the argument
)

// askFor is how long a role asks, after warming up.
const askFor = 500 * time.Millisecond

// play is main in a role. It returns the exit code.
func play(ctx context.Context, role string, args []string) int {
	err := errors.New("there is no role " + role)
	switch {
	case role == roleAnswer && len(args) == 1:
		err = answer(args[0])
	case role == roleAsk && len(args) > 0:
		err = askAll(ctx, args)
	case role == roleCall && len(args) == 1:
		err = callAll(ctx, args[0], os.Stdout)
	case role == roleGovern:
		err = govern()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// answer is a web server as members have: that of package net/http.
func answer(address string) error {
	return (&http.Server{Addr: address, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello\n") //nolint:errcheck // the client counts
	})}).ListenAndServe()
}

// askAll asks on several connections, which are kept, and prints how many answers
// came in a second.
func askAll(ctx context.Context, addresses []string) error {
	from := time.Now().Add(askFor / 5)
	ctx, cancel := context.WithDeadline(ctx, from.Add(askFor))
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		all  int
		fail error
	)
	for i := range connections {
		wg.Go(func() {
			n, err := askOver(ctx, addresses[i%len(addresses)], from)
			mu.Lock()
			defer mu.Unlock()
			all, fail = all+n, errors.Join(fail, err)
		})
	}
	wg.Wait()
	if fail == nil {
		fmt.Println(int(float64(all) / askFor.Seconds()))
	}
	return fail
}

// askOver counts the answers on one connection after a time, until ctx is done.
// Package net/http would cost this side more than the network.
func askOver(ctx context.Context, address string, from time.Time) (n int, err error) {
	c, err := connectSoon(ctx, address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for ctx.Err() == nil {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
			return 0, err
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return 0, err
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return 0, err
		}
		if time.Now().After(from) {
			n++
		}
	}
	return n, nil
}

// connectSoon dials until somebody listens.
func connectSoon(ctx context.Context, address string) (net.Conn, error) {
	for {
		c, err := impatient(ctx, "tcp4", address)
		if err == nil {
			return c, nil
		}
		if pause(ctx, 10*time.Millisecond) != nil {
			return nil, err
		}
	}
}
