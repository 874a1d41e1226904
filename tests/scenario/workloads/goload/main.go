// SPDX-License-Identifier: Apache-2.0

// A load client: opens idle connections, or keeps HTTP ones busy; and a server that is fast enough
// to be called by it.
//
//	goload -tls HOST:PORT -name NAME -certificate PATH -idle-count N -hold
//	goload -busy HOST:PORT -busy-count N -seconds S
//	goload -serve :PORT
//
// The idle connections are mutual TLS, as another proxy's would be, with PATH.crt and PATH.key. When
// all are open it says "idle" on standard error and holds them until standard input ends; then each
// must still answer a request, so that one that died in between is noticed. Prints one JSON object.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var (
	tlsAddress   = flag.String("tls", "", "a proxy's mesh port")
	serverName   = flag.String("name", "", "the name to ask for")
	certificate  = flag.String("certificate", "", "path without .crt and .key")
	idleCount    = flag.Int("idle-count", 0, "connections to keep idle")
	hold         = flag.Bool("hold", false, "keep them until standard input ends")
	busyAddress  = flag.String("busy", "", "address of an HTTP server")
	busyCount    = flag.Int("busy-count", 0, "connections to keep busy")
	seconds      = flag.Float64("seconds", 5, "how long to keep them busy")
	serveAddress = flag.String("serve", "", "address to serve HTTP on")
	opening      = flag.Int("opening", 32, "connections in their handshake at once")
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

// A connection that is kept busy. It speaks bare HTTP: the client should cost less than what it
// measures.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
}

func (c *caller) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// One request and its whole response, on a connection that is dialled when there is none.
func (c *caller) call(request []byte) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", *busyAddress, 30*time.Second)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	c.conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	status, err := readResponse(c.in)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// Reads lines up to the empty one; gives the first, and the Content-Length, -1 without one.
func readHead(in *bufio.Reader) (first string, length int, err error) {
	length = -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return first, length, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return first, length, nil
		}
		if first == "" {
			first = string(line)
		} else if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return first, length, err
			}
		}
	}
}

// Takes in a response that has a Content-Length.
func readResponse(in *bufio.Reader) (status int, err error) {
	first, length, err := readHead(in)
	if err != nil {
		return 0, err
	}
	if length < 0 {
		return 0, fmt.Errorf("no Content-Length after %q", first)
	}
	if _, err = fmt.Sscanf(first, "HTTP/1.1 %d", &status); err != nil {
		return 0, err
	}
	_, err = in.Discard(length)
	return status, err
}

// Keeps the connections busy. The first request of each, with its connection's handshake behind it,
// is not measured; the time runs from when all have had theirs.
func keepBusy(result map[string]any) {
	request := []byte("GET /echo HTTP/1.1\r\nHost: load\r\n\r\n")
	callers := make([]caller, *busyCount)
	var failed int64
	var firstFailure atomic.Value
	attempt := func(c *caller) bool {
		err := c.call(request)
		if err == nil {
			return true
		}
		atomic.AddInt64(&failed, 1)
		firstFailure.CompareAndSwap(nil, err.Error())
		c.close()
		time.Sleep(20 * time.Millisecond)
		return false
	}
	start := time.Now()
	inParallel(*busyCount, *busyCount, func(i int) { attempt(&callers[i]) })
	result["busy_opening_ms"] = time.Since(start).Milliseconds()

	var took []time.Duration
	var lock sync.Mutex
	end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	inParallel(*busyCount, *busyCount, func(i int) {
		var mine []time.Duration
		for start := time.Now(); start.Before(end); start = time.Now() {
			if attempt(&callers[i]) {
				mine = append(mine, time.Since(start))
			}
		}
		callers[i].close()
		lock.Lock()
		took = append(took, mine...)
		lock.Unlock()
	})
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	result["busy_requests"], result["busy_failed"] = len(took), failed
	result["busy_failure"] = firstFailure.Load()
	result["busy_p50_ms"], result["busy_p99_ms"] = milliseconds(took, 0.5), milliseconds(took, 0.99)
}

// A server that answers as fast as it can, requests without a body.
func serve() {
	listener, err := net.Listen("tcp", *serveAddress)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")
	for {
		c, err := listener.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			in := bufio.NewReader(c)
			for {
				if _, _, err := readHead(in); err != nil {
					return
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

func milliseconds(took []time.Duration, share float64) float64 {
	if len(took) == 0 {
		return 0
	}
	return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
}

func main() {
	flag.Parse()
	if *serveAddress != "" {
		serve()
	}
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

	keepBusy(result)

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
