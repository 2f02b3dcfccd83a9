#!/usr/bin/env python3
"""Writes the SBOM of the binary in the image: CycloneDX 1.5, from what cargo says it was built of.

Cargo itself is the source, because no tool of Debian or PyPI reads a static Rust binary without data that
was put in while it was built. The same tree and lock file give the same bytes: no time, no random number.

usage: image/sbom.py BINARY TARGET [FEATURE,FEATURE…]   > sbom.cdx.json
"""

import hashlib
import json
import subprocess
import sys
import tomllib


def packages(target, features):
    """Every crate that is linked in: name, version, licence."""
    command = ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none"]
    command += ["--format", "{p}\t{l}"] + (["--features", features] if features else [])
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = set()
    for line in lines:
        package, _, licence = line.removesuffix(" (*)").partition("\t")
        name, version = package.split()[:2]
        found.add((name, version.removeprefix("v"), licence.removesuffix(" (*)")))
    return sorted(found)


def checksums():
    with open("Cargo.lock", "rb") as lock:
        crates = tomllib.load(lock)["package"]
    return {(crate["name"], crate["version"]): crate.get("checksum") for crate in crates}


def component(name, version, licence, checksum):
    entry = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
    entry["bom-ref"] = entry["purl"]
    if licence:
        entry["licenses"] = [{"expression": licence.replace("/", " OR ")}]
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def main():
    binary, target = sys.argv[1:3]
    features = sys.argv[3] if len(sys.argv) > 3 else ""
    known = checksums()
    all_of_it = packages(target, features)
    ours = next(package for package in all_of_it if package[0] == "sidekey")
    digest = hashlib.sha256(open(binary, "rb").read()).hexdigest()
    subject = component(*ours, digest) | {"type": "application"}
    parts = [component(*package, known.get(package[:2])) for package in all_of_it if package != ours]
    bom = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": subject},
        "components": parts,
    }
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
