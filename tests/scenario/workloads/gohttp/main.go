// SPDX-License-Identifier: Apache-2.0

// A plain HTTP workload in Go's standard library, with its own ideas about keep-alive, chunking and
// headers: gohttp PORT NAME. Answers every path with JSON about the request.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	port, name := os.Args[1], os.Args[2]
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		count, err := io.Copy(sum, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"server": name, "method": r.Method, "path": r.URL.RequestURI(), "host": r.Host,
			"headers": r.Header, "trailers": r.Trailer, "body_bytes": count,
			"sha256": hex.EncodeToString(sum.Sum(nil)), "peer": host,
		})
	})
	log.Fatal(http.ListenAndServe(":"+port, nil))
}
