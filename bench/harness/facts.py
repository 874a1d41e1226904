# SPDX-License-Identifier: Apache-2.0
"""What of this machine and this build the figures depend on."""
import gzip
import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPU_FLAGS = ("aes", "vaes", "vpclmulqdq", "avx2", "avx512f")


@dataclass(frozen=True)
class Cores:
    """Who runs where: sets of processors."""
    proxy: frozenset
    load: frozenset
    origin: frozenset
    note: str = ""


def read(path, fallback=""):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return fallback


def siblings(core):
    return read(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list", str(core))


def cores_choose():
    """The proxies alone on one core, load and origin on one or, better, two others. Two threads of one
    physical core are two cores only when there is nothing else."""
    available = sorted(os.sched_getaffinity(0))
    physical = list({siblings(core): core for core in reversed(available)}.values())[::-1]
    note = ""
    if len(physical) < 2 <= len(available):
        physical, note = available, "the cores are threads of one physical core: figures are worse than on two"
    if len(physical) < 2:
        one = frozenset(available[:1])
        return Cores(one, one, one, "there is one core only: rates and latencies mean little")
    load, proxy = physical[0], physical[1]
    origin = physical[2] if len(physical) > 2 else load
    return Cores(frozenset([proxy]), frozenset([load]), frozenset([origin]), note)


def cores_text(cores):
    return ", ".join(str(core) for core in sorted(cores))


# --- the machine ------------------------------------------------------------------------------------


def cpuinfo(key):
    found = re.search(rf"^{key}\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M)
    return found[1] if found else ""


def kernel_config():
    release = platform.release()
    try:
        return gzip.open("/proc/config.gz", "rt").read()
    except OSError:
        return read(f"/boot/config-{release}")


def kernel_option(config, name):
    if not config:
        return "unknown"
    return "yes" if re.search(rf"^CONFIG_{name}=y$", config, re.M) else "no"


def mitigations():
    directory = Path("/sys/devices/system/cpu/vulnerabilities")
    states = {path.name: read(path) for path in sorted(directory.iterdir())} if directory.is_dir() else {}
    active = [f"{name}: {text.removeprefix('Mitigation: ')}" for name, text in states.items()
              if text.startswith("Mitigation")]
    return "; ".join(active) or "none active"


def hypervisor():
    if "hypervisor" not in cpuinfo("flags").split():
        return "none"
    done = subprocess.run(["systemd-detect-virt", "--vm"], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.strip() or "yes"


def machine_facts(cores):
    config, flags = kernel_config(), cpuinfo("flags").split()
    memory = int(re.search(r"MemTotal:\s*(\d+)", read("/proc/meminfo"))[1])
    return {
        "processor": cpuinfo("model name") or platform.machine(),
        "processors": f"{os.cpu_count()} ({len({siblings(c) for c in range(os.cpu_count())})} physical cores)",
        "instructions": " ".join(flag for flag in CPU_FLAGS if flag in flags) or "unknown",
        "hypervisor": hypervisor(),
        "frequency governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "none"),
        "memory": f"{memory / 1024 / 1024:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "IRQ time accounting": kernel_option(config, "IRQ_TIME_ACCOUNTING"),
        "mitigations": mitigations(),
        "cores": f"proxies on {cores_text(cores.proxy)}, load on {cores_text(cores.load)}, "
                 f"origin on {cores_text(cores.origin)}",
    }


# --- the build --------------------------------------------------------------------------------------


def boringssl(build):
    """Which BoringSSL a build is linked with."""
    options = json.loads(read(build / "meson-info" / "intro-buildoptions.json", "[]"))
    prefix = next((option["value"] for option in options if option["name"] == "boringssl"), "")
    if prefix:
        return "upstream's, given with -Dboringssl"
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "android-libboringssl"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return f"Debian's {done.stdout.strip()}".strip()


def revision():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.strip() or "unknown"
