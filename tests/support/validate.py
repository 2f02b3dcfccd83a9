"""Validates objects of Kubernetes, by the schemas of the oldest and the newest version in support.

Reads a JSON list of [name, strict, object] from stdin."""

import json
import sys

import kubernetes_validate

OLDEST = "1.29"
NEWEST = kubernetes_validate.latest_version()

wrong, known = [], 0
for name, strict, thing in json.load(sys.stdin):
    for version in (OLDEST, NEWEST):
        # Version 1.29 knows no resources of the pod as a whole.
        if version == OLDEST and "pod-level" in name:
            continue
        try:
            kubernetes_validate.validate(thing, version, strict=strict)
            known += 1
        except kubernetes_validate.SchemaNotFoundError:
            pass
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{name} by {version}: {'/'.join(map(str, error.path))}: {error.message[:300]}")
print("\n".join(wrong) or f"{known} valid by {OLDEST} and {NEWEST}")
sys.exit(bool(wrong))
