# SPDX-License-Identifier: Apache-2.0
"""A process's whole memory, and private keys in all forms in which they could lie there."""
import base64
import re
import struct
from pathlib import Path

PAGE = 4096
PART = 64 << 20  # so much at a time, with an overlap
OVERLAP = 256


def areas(pid):
    """Start and end of everything mapped that can be read."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, *rest = line.split(maxsplit=5)
        name = rest[-1] if len(rest) == 4 else ""
        if "r" in rights and not name.startswith(("[vvar", "[vsyscall")):
            start, end = (int(number, 16) for number in span.split("-"))
            found.append((start, end))
    return found


def runs(pid, start, end):
    """The parts of an area that have pages: sanitizers map far more than there is memory."""
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        if end - start > 1 << 36:
            return  # shadow memory: one byte there stands for eight, nothing can be read in it
        pagemap.seek(start // PAGE * 8)
        entries = pagemap.read((end - start) // PAGE * 8)
    first = None
    for number, (entry,) in enumerate(struct.iter_unpack("<Q", entries)):
        there = bool(entry >> 62)  # in memory, or swapped out
        if there and first is None:
            first = number
        elif not there and first is not None:
            yield start + first * PAGE, start + number * PAGE
            first = None
    if first is not None:
        yield start + first * PAGE, end


def memory(pid):
    """All of it, in pieces that overlap."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for area in areas(pid):
            for start, end in runs(pid, *area):
                at = start
                while at < end:
                    try:
                        mem.seek(at)
                        yield mem.read(min(PART, end - at))
                    except OSError:
                        pass  # unmapped meanwhile
                    at += PART - OVERLAP


def forms(key_pem):
    """A private key's secret bytes in every form: {what: bytes}."""
    der = base64.b64decode("".join(key_pem.split("-----")[2].split()))
    scalar = der[36:68] if "BEGIN PRIVATE" in key_pem else der[7:39]  # PKCS#8, or SEC1
    lines = key_pem.splitlines()
    found = {"big-endian": scalar, "little-endian": scalar[::-1], "first half": scalar[:16],
             "second half": scalar[16:], "first half, little-endian": scalar[:16][::-1],
             "second half, little-endian": scalar[16:][::-1], "hexadecimal": scalar.hex().encode(),
             "HEXADECIMAL": scalar.hex().upper().encode(), "PEM, first line": lines[1].encode(),
             "PEM, second line": lines[2].encode()}
    for shift in range(3):  # base64 of anything that has the scalar in it
        text = base64.b64encode(b"\0" * shift + scalar)
        found[f"base64, {shift}"] = text[4:40]
    return found


def find(pid, keys):
    """Which of the keys ({name: PEM}) lie in a process's memory, and how: {(name, form)}."""
    wanted = {(name, form): text for name, pem in keys.items() for form, text in forms(pem).items()}
    names = {}
    for key, text in wanted.items():
        names.setdefault(text, []).append(key)
    pattern = re.compile(b"|".join(re.escape(text) for text in names))
    found = set()
    for part in memory(pid):
        for match in pattern.finditer(part):
            found.update(names[match.group()])
    return found


def locked_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmLck:\s+(\d+) kB", status).group(1))


def areas_with_flags(pid, *flags):
    """Start and end of the areas that have all of these flags (smaps' VmFlags)."""
    found, span = [], None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            span = tuple(int(number, 16) for number in match.groups())
        elif line.startswith("VmFlags:") and set(flags) <= set(line.split()[1:]):
            found.append(span)
    return found
