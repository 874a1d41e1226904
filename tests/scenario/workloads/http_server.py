# SPDX-License-Identifier: Apache-2.0
"""A plain HTTP/1.1 workload that does each thing HTTP allows and a proxy must carry.

    http_server.py PORT NAME [RECORD_FILE]

Paths:
    /echo...             JSON: who answered, method, path, headers, body length and sha256
    /bytes/N             N pseudo-random bytes that everybody can compute again
    /chunked/N           N chunks of 1000 bytes, then a trailer X-Checksum
    /stream/N/MS         N lines, one every MS milliseconds
    /slow/MS             an answer after MS milliseconds
    /early-hints         103, then 200
    /until-close         a body that lasts until the connection ends
    /status/N            that status, no body for 204 and 304
    /healthz             200, but 503 while there is a file RECORD_FILE.sick
    /upgrade             101, then echoes raw bytes
    /die                 closes without an answer
    /die-midway          announces 1000 bytes, sends 10, resets
Each request's raw head goes to RECORD_FILE, so that a test sees what came through.

While there is a file RECORD_FILE.mode, each request goes as it says, whatever the path:
    status N             that status
    says N NAME VALUE    that status, with a header
    cycle N M ...        these statuses in turn
    busy S               503 with Retry-After S the first time that a path is asked for
    stall                no answer for as long as the connection is there
    late MS              the answer after MS milliseconds
    close                ends the connection without an answer
    reset                resets it
    midway               announces 1000 bytes, sends 10, resets
    garbage              bytes that are no HTTP
"""
import asyncio
import hashlib
import json
import os
import socket
import struct
import sys

HEAD_MAX = 256 * 1024
BLOCK = bytes((i * 7 + (i >> 8) * 13) & 0xFF for i in range(65536))


class Request:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, self.version = lines[0].split(" ", 2)
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:] if ": " in line]
        self.trailers = []
        self.body_bytes = 0
        self.sha256 = hashlib.sha256()

    def get(self, name):
        values = [v for n, v in self.headers if n.lower() == name]
        return values[0] if values else None


class Connection:
    turn = -1      # of "cycle", over all connections
    asked = set()  # paths, of "busy"

    def __init__(self, name, record, reader, writer):
        self.name, self.record, self.reader, self.writer = name, record, reader, writer

    async def serve(self):
        while await self.serve_one():
            pass

    async def serve_one(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        if self.record:
            self.record.write(head)
            self.record.flush()
        request = Request(head[:-4])
        if (request.get("expect") or "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self.read_body(request)
        return await self.answer(request)

    async def read_body(self, request):
        if "chunked" in (request.get("transfer-encoding") or ""):
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                self.took(request, await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            while (line := await self.reader.readline()) not in (b"\r\n", b""):
                request.trailers.append(line.decode("latin-1").strip())
        left = int(request.get("content-length") or 0)
        while left:
            part = await self.reader.read(min(left, 65536))
            if not part:
                raise asyncio.IncompleteReadError(b"", left)
            self.took(request, part)
            left -= len(part)

    @staticmethod
    def took(request, part):
        request.body_bytes += len(part)
        request.sha256.update(part)

    def head(self, status, *headers):
        lines = [f"HTTP/1.1 {status} Text", f"Server-Name: {self.name}", *headers]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def whole(self, request, body, status=200, kind="text/plain", headers=()):
        self.head(status, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers)
        if request.method != "HEAD":
            self.writer.write(body)
        await self.writer.drain()
        return (request.get("connection") or "").lower() != "close"

    async def answer(self, request):
        mode = self.mode()
        if mode:
            return await getattr(self, "as_" + mode[0])(request, *[int(w) if w.isdigit() else w for w in mode[1:]])
        words = request.path.split("?")[0].split("/")[1:]
        action = getattr(self, "do_" + words[0].replace("-", "_"), self.do_echo)
        return await action(request, *[int(word) for word in words[1:] if word.isdigit()])

    @staticmethod
    def mode():
        try:
            with open(sys.argv[3] + ".mode") as file:
                return file.read().split()
        except (FileNotFoundError, IndexError):
            return None

    async def as_status(self, request, status):
        return await self.do_status(request, status)

    async def as_says(self, request, status, name, value):
        return await self.whole(request, b"as asked\n", status, headers=[f"{name}: {value}"])

    async def as_cycle(self, request, *statuses):
        Connection.turn += 1
        return await self.do_status(request, statuses[Connection.turn % len(statuses)])

    async def as_busy(self, request, seconds):
        if request.path in Connection.asked:
            return await self.do_echo(request)
        Connection.asked.add(request.path)
        return await self.whole(request, b"later\n", 503, headers=[f"Retry-After: {seconds}"])

    async def as_stall(self, _):
        while await self.reader.read(65536):
            pass
        return False

    async def as_late(self, request, pause_ms):
        await asyncio.sleep(pause_ms / 1000)
        return await self.do_echo(request)

    async def as_close(self, _):
        return False

    async def as_reset(self, _):
        self.reset()
        return False

    async def as_midway(self, request):
        return await self.do_die_midway(request)

    async def as_garbage(self, _):
        self.writer.write(b"\x01\x02 no HTTP at all\r\n\r\n")
        await self.writer.drain()
        return False

    async def do_echo(self, request, *_):
        answer = {"server": self.name, "method": request.method, "path": request.path,
                  "version": request.version, "headers": request.headers,
                  "trailers": request.trailers, "body_bytes": request.body_bytes,
                  "sha256": request.sha256.hexdigest(),
                  "peer": self.writer.get_extra_info("peername")[0]}
        return await self.whole(request, json.dumps(answer).encode(), kind="application/json")

    async def do_bytes(self, request, count):
        self.head(200, f"Content-Length: {count}")
        while count and request.method != "HEAD":
            part = BLOCK[:min(count, len(BLOCK))]
            self.writer.write(part)
            await self.writer.drain()
            count -= len(part)
        return True

    async def do_chunked(self, request, count):
        self.head(200, "Transfer-Encoding: chunked", "Trailer: X-Checksum")
        for _ in range(count):
            self.writer.write(b"3e8\r\n" + BLOCK[:1000] + b"\r\n")
            await self.writer.drain()
        sha256 = hashlib.sha256(BLOCK[:1000] * count).hexdigest()
        self.writer.write(f"0\r\nX-Checksum: {sha256}\r\n\r\n".encode())
        await self.writer.drain()
        return True

    async def do_stream(self, request, count, pause_ms):
        self.head(200, "Transfer-Encoding: chunked")
        for number in range(count):
            line = b"line %d\n" % number
            self.writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await self.writer.drain()
            await asyncio.sleep(pause_ms / 1000)
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return True

    async def do_slow(self, request, pause_ms):
        await asyncio.sleep(pause_ms / 1000)
        return await self.whole(request, b"slow\n")

    async def do_early_hints(self, request):
        self.writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        await self.writer.drain()
        return await self.whole(request, b"after hints\n")

    async def do_until_close(self, request):
        self.head(200, "Connection: close")
        self.writer.write(BLOCK[:5000])
        await self.writer.drain()
        return False

    async def do_status(self, request, status):
        if status in (204, 304):
            self.head(status)
            await self.writer.drain()
            return True
        return await self.whole(request, b"as asked\n", status)

    async def do_healthz(self, request):
        sick = len(sys.argv) > 3 and os.path.exists(sys.argv[3] + ".sick")
        return await self.whole(request, b"sick\n" if sick else b"well\n", 503 if sick else 200)

    async def do_upgrade(self, request):
        if (request.get("upgrade") or "") == "":
            return await self.whole(request, b"no upgrade asked\n", 426)
        self.head(101, "Connection: Upgrade", f"Upgrade: {request.get('upgrade')}")
        while part := await self.reader.read(65536):
            self.writer.write(part)
            await self.writer.drain()
        return False

    async def do_die(self, request):
        return False

    async def do_die_midway(self, request):
        self.head(200, "Content-Length: 1000")
        self.writer.write(b"0123456789")
        await self.writer.drain()
        await asyncio.sleep(0.1)
        self.reset()
        return False

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def main():
    port, name = int(sys.argv[1]), sys.argv[2]
    record = open(sys.argv[3], "ab") if len(sys.argv) > 3 else None

    async def connected(reader, writer):
        try:
            await Connection(name, record, reader, writer).serve()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, ["0.0.0.0", "::"], port, limit=HEAD_MAX, backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main())
