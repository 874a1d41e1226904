// SPDX-License-Identifier: Apache-2.0

// A load client: opens idle connections, or keeps HTTP ones busy.
//
//	goload -tls HOST:PORT -name NAME -certificate PATH -idle-count N -hold
//	goload -busy HOST:PORT -busy-count N -seconds S
//
// The idle connections are mutual TLS, as another proxy's would be, with PATH.crt and PATH.key. When
// all are open it says "idle" on standard error and holds them until standard input ends; then each
// must still answer a request, so that one that died in between is noticed. Prints one JSON object.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

var (
	tlsAddress  = flag.String("tls", "", "a proxy's mesh port")
	serverName  = flag.String("name", "", "the name to ask for")
	certificate = flag.String("certificate", "", "path without .crt and .key")
	idleCount   = flag.Int("idle-count", 0, "connections to keep idle")
	hold        = flag.Bool("hold", false, "keep them until standard input ends")
	busyAddress = flag.String("busy", "", "address of an HTTP server")
	busyCount   = flag.Int("busy-count", 0, "connections to keep busy")
	seconds     = flag.Float64("seconds", 5, "how long to keep them busy")
	opening     = flag.Int("opening", 32, "connections in their handshake at once")
)

func openOne(options *tls.Config) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	return tls.DialWithDialer(dialer, "tcp", *tlsAddress, options)
}

// A request on a connection that was idle: an error when it is dead.
func ping(c net.Conn) error {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "GET /echo HTTP/1.1\r\nHost: orders\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != 200 {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return err
}

// Does something for each of n, so many at once.
func inParallel(n, atOnce int, each func(i int)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := 0; i < n; i++ {
		group.Add(1)
		slots <- struct{}{}
		go func(i int) {
			defer func() { <-slots; group.Done() }()
			each(i)
		}(i)
	}
	group.Wait()
}

func openIdle() (opened []net.Conn, failures []string) {
	if *idleCount == 0 {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(*certificate+".crt", *certificate+".key")
	if err != nil {
		return nil, []string{err.Error()}
	}
	// Who the server is does not matter to a load client; the proxies' own tests care.
	options := &tls.Config{Certificates: []tls.Certificate{pair}, ServerName: *serverName,
		InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}
	var lock sync.Mutex
	inParallel(*idleCount, *opening, func(int) {
		c, err := openOne(options)
		lock.Lock()
		defer lock.Unlock()
		if err != nil {
			failures = append(failures, err.Error())
		} else {
			opened = append(opened, c)
		}
	})
	return opened, failures
}

func busy(end time.Time, failed *int64, firstFailure *atomic.Value) []time.Duration {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 30 * time.Second}
	var took []time.Duration
	for time.Now().Before(end) {
		start := time.Now()
		response, err := client.Get("http://" + *busyAddress + "/echo")
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if err == nil && response.StatusCode != 200 {
				err = fmt.Errorf("status %d", response.StatusCode)
			}
		}
		if err != nil {
			atomic.AddInt64(failed, 1)
			firstFailure.CompareAndSwap(nil, err.Error())
			time.Sleep(20 * time.Millisecond)
			continue
		}
		took = append(took, time.Since(start))
	}
	return took
}

func milliseconds(took []time.Duration, share float64) float64 {
	if len(took) == 0 {
		return 0
	}
	return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
}

func main() {
	flag.Parse()
	result := map[string]any{}
	idle, failures := openIdle()
	result["idle_opened"], result["idle_failed"] = len(idle), len(failures)
	if len(failures) > 0 {
		result["idle_failure"] = failures[0]
	}
	fmt.Fprintln(os.Stderr, "idle")
	if *hold {
		io.Copy(io.Discard, os.Stdin)
	}

	var failed int64
	var firstFailure atomic.Value
	var took []time.Duration
	var lock sync.Mutex
	var group sync.WaitGroup
	end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	for i := 0; i < *busyCount; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			mine := busy(end, &failed, &firstFailure)
			lock.Lock()
			took = append(took, mine...)
			lock.Unlock()
		}()
	}
	group.Wait()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	result["busy_requests"], result["busy_failed"] = len(took), failed
	result["busy_failure"] = firstFailure.Load()
	result["busy_p50_ms"], result["busy_p99_ms"] = milliseconds(took, 0.5), milliseconds(took, 0.99)

	var lost int64
	var firstLoss atomic.Value
	inParallel(len(idle), 32, func(i int) {
		if err := ping(idle[i]); err != nil {
			atomic.AddInt64(&lost, 1)
			firstLoss.CompareAndSwap(nil, err.Error())
		}
		idle[i].Close()
	})
	result["idle_lost"], result["idle_loss"] = lost, firstLoss.Load()
	json.NewEncoder(os.Stdout).Encode(result)
}
