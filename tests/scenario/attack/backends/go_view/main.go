// SPDX-License-Identifier: Apache-2.0

// A server in Go's standard library that says what it takes each request to be: go_view PORT LOG.
// A line of JSON for each request in LOG: every way in which net/http and net/url read its path,
// its host and the header x-role.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
)

type view struct {
	Method string   `json:"method"`
	Target string   `json:"target"`
	Paths  []string `json:"paths"`
	Places []string `json:"places"` // where it would be led
	Hosts  []string `json:"hosts"`
	Roles  []string `json:"roles"`
	ID     string   `json:"id"`
	Case   string   `json:"case"`
	Body   int64    `json:"body"`
}

// Where the multiplexer of the standard library would lead it, redirections followed.
func muxPath(mux *http.ServeMux, r *http.Request) string {
	_, pattern := mux.Handler(r)
	return strings.TrimPrefix(pattern, "internal.example")
}

func trimmed(values []string) []string {
	found := []string{strings.Join(values, ",")}
	for _, value := range values {
		found = append(found, value, strings.TrimSpace(value))
	}
	return found
}

func main() {
	out, err := os.OpenFile(os.Args[2], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, pattern := range []string{"/", "/admin", "/admin/", "internal.example/"} {
		mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	}
	log.Fatal(http.ListenAndServe(":"+os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count, _ := io.Copy(io.Discard, r.Body)
		unescaped, _ := url.PathUnescape(r.URL.EscapedPath())
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		line, _ := json.Marshal(view{r.Method, r.RequestURI,
			[]string{r.URL.Path, path.Clean(r.URL.Path), r.URL.EscapedPath(), unescaped, path.Clean(unescaped)},
			[]string{muxPath(mux, r)},
			[]string{r.Host, host, r.URL.Host}, trimmed(r.Header.Values("X-Role")),
			r.Header.Get("X-Request-Id"), r.Header.Get("X-Case"), count})
		out.Write(append(line, '\n'))
		name := r.Header.Get("X-Case")
		if name == "" {
			name = "-"
		}
		w.Header().Set("X-Case", name)
	})))
}
