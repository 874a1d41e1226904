# SPDX-License-Identifier: Apache-2.0
"""Opaque TCP workloads, one behaviour a port.

    tcp_server.py BEHAVIOUR PORT

    echo       sends back what comes; answers a half-close by the rest and its own half-close
    banner     speaks first: "220 mail ready", then answers each line by "250 LINE"
    source     half-closes after 1 MiB of known bytes, and reads until the peer closes
    sink       reads all, then answers with count and sha256 as one line
    reset      resets the connection after the first bytes
    deaf       accepts and never reads
    spray      sends known bytes without end until the peer goes away
"""
import asyncio
import hashlib
import socket
import struct
import sys

BLOCK = bytes((i * 7 + (i >> 8) * 13) & 0xFF for i in range(65536))


async def echo(reader, writer):
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def banner(reader, writer):
    writer.write(b"220 mail ready\r\n")
    while line := await reader.readline():
        if line.strip() == b"QUIT":
            writer.write(b"221 bye\r\n")
            return
        writer.write(b"250 " + line)
        await writer.drain()


async def source(reader, writer):
    for _ in range(16):
        writer.write(BLOCK)
        await writer.drain()
    writer.write_eof()
    while await reader.read(65536):
        pass


async def sink(reader, writer):
    count, sha256 = 0, hashlib.sha256()
    while part := await reader.read(65536):
        count += len(part)
        sha256.update(part)
    writer.write(b"%d %s\n" % (count, sha256.hexdigest().encode()))
    await writer.drain()


async def reset(reader, writer):
    await reader.read(1)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def deaf(reader, writer):
    writer.transport.pause_reading()
    await asyncio.sleep(3600)


async def spray(reader, writer):
    while True:
        writer.write(BLOCK)
        await writer.drain()


async def main():
    behaviour, port = globals()[sys.argv[1]], int(sys.argv[2])

    async def connected(reader, writer):
        try:
            await behaviour(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, ["0.0.0.0", "::"], port, backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main())
