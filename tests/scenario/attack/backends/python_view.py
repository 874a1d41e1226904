# SPDX-License-Identifier: Apache-2.0
"""A server in Python's standard library that says what it takes each request to be: python_view.py PORT LOG.

A line of JSON for each request in LOG: every way in which http.server, wsgiref and urllib, which Python's
frameworks are made of, read its path, its host and the header x-role.
"""
import json
import os
import posixpath
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse, urlsplit
from wsgiref.simple_server import WSGIRequestHandler

LOG = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


class View(WSGIRequestHandler):
    directory = "/"  # for translate_path()

    def handle(self):
        SimpleHTTPRequestHandler.handle(self)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def paths(self, environ):
        raw = self.path.split("?", 1)[0]
        return [raw, unquote(raw), posixpath.normpath(unquote(raw)), urlparse(self.path).path, urlsplit(self.path).path,
                environ["PATH_INFO"], posixpath.normpath(environ["PATH_INFO"]),
                SimpleHTTPRequestHandler.translate_path(self, self.path)]

    def answer(self):
        environ = self.get_environ()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self.command != "HEAD" else b""
        roles = [value.strip() for value in self.headers.get_all("x-role", [])] + [environ.get("HTTP_X_ROLE", "")]
        view = {"method": self.command, "target": self.path, "paths": self.paths(environ),
                "hosts": [*self.headers.get_all("host", []), environ.get("HTTP_HOST", "")], "roles": roles,
                "id": self.headers.get("x-request-id"), "case": self.headers.get("x-case"), "body": len(body)}
        os.write(LOG, json.dumps(view).encode() + b"\n")
        self.send_response(200)
        self.send_header("X-Case", self.headers.get("x-case") or "-")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    base_environ = {}


Server(("0.0.0.0", int(sys.argv[1])), View).serve_forever()
