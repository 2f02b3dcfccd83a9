#!/usr/bin/env python3
"""Measures what a person at a keyboard waits for: `exec --replace` over the fetch itself, and `check`.

Writes its part of benches/RESULTS.md. Usage: bench_hands.py BINARY BAO (`make bench` builds and calls it)."""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import bench

SECRETS = 200
MARKS = "<!-- hands: speed -->", "<!-- /hands: speed -->"


def exec_config(work, server):
    """One secret in one variable."""
    path = work / "exec.yaml"
    path.write_text(json.dumps({
        "stores": {"vault": {
            "kind": "vault", "address": f"http://127.0.0.1:{server.port}",
            "login": {"approle": {"role_id_file": str(work / "sk.role"),
                                  "secret_id_file": str(work / "sk.secret")}}}},
        "secrets": {"s0": {"from": "vault:secret/data/s0"}},
        "env": {"VALUE": "s0.value"},
        "volume": {"path": str(work / "volume")},
    }))
    return path


def check_config(work):
    """Two hundred secrets, each in a file of its own."""
    path = work / "check.yaml"
    path.write_text(json.dumps({
        "stores": {"vault": {"kind": "vault", "address": "https://vault:8200",
                             "login": {"kubernetes": {"role": "orders"}}}},
        "secrets": {f"s{n}": {"from": f"vault:secret/data/s{n}"} for n in range(SECRETS)},
        "files": {f"f{n}": {"from": f"s{n}.value"} for n in range(SECRETS)},
        "volume": {"path": str(work / "volume")}, "state": {"path": str(work / "state")},
    }))
    return path


def main():
    before = os.getloadavg()
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="sidekey-bench-") as work:
        work = Path(work)
        (work / "volume").mkdir(mode=0o750)
        server = bench.Server(work)
        try:
            measured = bench.Bench(work, server)
            config, checked = exec_config(work, server), check_config(work)
            times = {"exec": [], "true": [], "bare": [], "check": []}
            for _ in range(bench.RUNS):
                measured.credentials("sk")
                command = [bench.SIDEKEY, "exec", "--replace", "--log-level", "error", "--config", config]
                times["exec"].append(bench.timed([*command, "--", "/bin/true"]))
                times["true"].append(bench.timed(["/bin/true"]))
                times["bare"].append(measured.bare(1, 1))
                times["check"].append(bench.timed([bench.SIDEKEY, "check", "--config", checked]))
        finally:
            server.stop()
    ms = {name: statistics.median(values) * 1000 for name, values in times.items()}
    more = ms["exec"] - ms["true"] - ms["bare"]
    verdict = lambda met: "met" if met else "**not met**"
    text = f"""{MARKS[0]}
## At the keyboard

By `make bench` on {time.strftime("%Y-%m-%d")}; {os.cpu_count()} cores, load average {before[0]:.1f} at the start. Medians of {bench.RUNS} interleaved runs.

| what | to reach | seen | |
| --- | --- | --- | --- |
| `exec --replace`, over the fetch itself | < 5 ms | {more:.1f} ms | {verdict(more < 5)} |
| `check`, {SECRETS} secrets, start to exit | < 50 ms | {ms["check"]:.1f} ms | {verdict(ms["check"] < 50)} |

`sidekey exec --replace -- /bin/true` with one secret in a variable takes {ms["exec"]:.1f} ms from start to exit; `/bin/true` alone takes {ms["true"]:.1f} ms, and the
login, the read and the give-back of the token, by Python in a process that runs already, {ms["bare"]:.1f} ms. What is left is Sidekey.
{MARKS[1]}
"""
    path = bench.ROOT / "benches" / "RESULTS.md"
    there = path.read_text()
    head, _, rest = there.partition(MARKS[0])
    tail = rest.partition(MARKS[1])[2].lstrip("\n") if rest else ""
    path.write_text(f"{head.rstrip()}\n\n{text}{tail and chr(10) + tail}")
    print(text)


main()
