// SPDX-License-Identifier: Apache-2.0

// A load client: opens idle TCP connections and keeps busy HTTP ones, all at once.
//
//	goload -idle HOST:PORT -idle-count N -busy HOST:PORT -busy-count N -seconds S
//
// Each idle connection sends one byte and wants it back at the start and again at the end, so that a
// connection that died in between is noticed. Prints one JSON object.
package main

import (
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
	idleAddress = flag.String("idle", "", "address of an echo server")
	idleCount   = flag.Int("idle-count", 0, "connections to keep idle")
	busyAddress = flag.String("busy", "", "address of an HTTP server")
	busyCount   = flag.Int("busy-count", 0, "connections to keep busy")
	seconds     = flag.Float64("seconds", 5, "how long to keep them busy")
	opening     = flag.Int("opening", 100, "idle connections being opened at once")
)

func ping(c net.Conn) error {
	one := []byte{'x'}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write(one); err != nil {
		return err
	}
	_, err := io.ReadFull(c, one)
	return err
}

func openIdle() (opened []net.Conn, failures []string) {
	var lock sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, *opening)
	for i := 0; i < *idleCount; i++ {
		group.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; group.Done() }()
			c, err := net.DialTimeout("tcp", *idleAddress, 30*time.Second)
			if err == nil {
				err = ping(c)
			}
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				failures = append(failures, err.Error())
			} else {
				opened = append(opened, c)
			}
		}()
	}
	group.Wait()
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

	lost := 0
	for _, c := range idle {
		if ping(c) != nil {
			lost++
		}
		c.Close()
	}
	result["idle_lost"] = lost
	json.NewEncoder(os.Stdout).Encode(result)
}
