# SPDX-License-Identifier: Apache-2.0
"""A server that is in no mesh: answers every request of a connection with what it has seen of it.

    outside_server.py PORT                       in the plain
    outside_server.py PORT CERT KEY [SUITES]     over TLS (1.3 and 1.2, or 1.2 with these suites alone)
"""
import json
import socket
import ssl
import sys
import threading

port, files = int(sys.argv[1]), sys.argv[2:]
asked = threading.local()


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(files[0], files[1])
    made.set_alpn_protocols(["http/1.1"])
    if files[2:]:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers(files[2])
    made.sni_callback = lambda _socket, name, _context: setattr(asked, "name", name)
    return made


def facts(sock):
    if not isinstance(sock, ssl.SSLSocket):
        return {"tls": None}
    return {"tls": sock.version(), "sni": getattr(asked, "name", None), "alpn": sock.selected_alpn_protocol()}


def serve(sock, address):
    seen = 0
    try:
        asked.name = None
        if files:
            sock = context().wrap_socket(sock, server_side=True)
        stream = sock.makefile("rwb")
        while line := stream.readline():
            headers = {}
            while (head := stream.readline().strip()):
                name, _, value = head.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            seen += 1
            said = {**facts(sock), "line": line.decode("latin-1").strip(), "host": headers.get("host"),
                    "headers": sorted(headers), "number": seen, "from": address[0]}
            body = json.dumps(said).encode()
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            stream.flush()
    except (OSError, ValueError):
        pass
    finally:
        sock.close()


listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("::", port))
listener.listen(64)
while True:
    threading.Thread(target=serve, args=listener.accept(), daemon=True).start()
