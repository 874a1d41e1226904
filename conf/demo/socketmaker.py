# SPDX-License-Identifier: Apache-2.0
"""Makes sockets on behalf of somebody else.

Runs inside a machine's network namespace under a workload's uid and hands the sockets it makes to
its parent, over the seqpacket socket whose number is the only argument. A socket belongs to the
namespace and the uid that made it, for good: so the parent, outside and root, can use it with
ordinary Python and is still taken for that workload by the kernel.

A request is "FAMILY COUNT"; the answer is one message with the descriptors, or an errno as text.
"""
import array
import socket
import sys

FD_COUNT_MAX = 200  # the kernel's SCM_RIGHTS limit is 253 in one message


def main():
    parent = socket.socket(fileno=int(sys.argv[1]))
    while request := parent.recv(64):
        family, count = (int(word) for word in request.split())
        made = []
        try:
            made = [socket.socket(family, socket.SOCK_STREAM) for _ in range(min(count, FD_COUNT_MAX))]
            numbers = array.array("i", [s.fileno() for s in made])
            parent.sendmsg([b"ok"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
        except OSError as error:
            parent.send(b"error %d" % error.errno)
        for s in made:
            s.close()


main()
