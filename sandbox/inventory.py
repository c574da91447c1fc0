"""Objects of a sandbox by kind, name and content, to compare two moments."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

_APART = {"events", "leases"}
"""Kinds that the cluster itself writes all the time."""
_VOLATILE = ("resourceVersion", "managedFields", "generation", "uid", "creationTimestamp")
_SECONDS = 60

Inventory = dict[str, dict[str, Any]]
"""Kind, then name (with its namespace), then content."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not as it was."""

    kind: str
    name: str
    what: str
    """`appeared`, `disappeared` or `changed`."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.what}"


def differences(before: Inventory, after: Inventory) -> list[Difference]:
    """List what appeared, disappeared or changed, in the order of kinds and names."""
    changes = []
    for kind in sorted(before.keys() | after.keys()):
        old, new = before.get(kind, {}), after.get(kind, {})
        for name in sorted(old.keys() | new.keys()):
            if name not in new:
                changes.append(Difference(kind, name, "disappeared"))
            elif name not in old:
                changes.append(Difference(kind, name, "appeared"))
            elif old[name] != new[name]:
                changes.append(Difference(kind, name, "changed"))
    return changes


def aws(url: str) -> Inventory:
    """Everything in the sandbox's AWS account."""
    answer = requests.get(f"{url}/_sandbox/inventory", timeout=_SECONDS)
    answer.raise_for_status()
    return answer.json()


def castai(url: str) -> Inventory:
    """Clusters that CAST AI still holds; an archived one is only a memory."""
    answer = requests.get(f"{url}/_sandbox/state", timeout=_SECONDS)
    answer.raise_for_status()
    clusters = answer.json()["clusters"]
    return {"Cluster": {c["name"]: c for c in clusters if c["status"] != "archived"}}


def kubernetes(url: str, authority: Path, token: str) -> Inventory:
    """Every object of every listable kind, without what changes by itself."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        # Otherwise REQUESTS_CA_BUNDLE of the environment comes before `verify`.
        session.trust_env = False
        session.verify = str(authority)

        def get(path: str) -> dict[str, Any]:
            answer = session.get(f"{url}{path}", timeout=_SECONDS)
            answer.raise_for_status()
            return answer.json()

        kinds = list(_kinds(get))
        with ThreadPoolExecutor(8) as pool:
            lists = pool.map(get, (path for _, path in kinds))
            return {
                kind: {_name(item): _content(item) for item in listing.get("items") or []}
                for (kind, _), listing in zip(kinds, lists, strict=True)
            }


def _kinds(get: Any) -> Iterator[tuple[str, str]]:
    bases = ["/api/v1"]
    bases += [f"/apis/{g['preferredVersion']['groupVersion']}" for g in get("/apis")["groups"]]
    for base in bases:
        for resource in get(base)["resources"]:
            plain = "/" not in resource["name"] and "list" in resource["verbs"]
            if plain and resource["name"] not in _APART:
                yield f"{resource['kind']} ({base.removeprefix('/')})", f"{base}/{resource['name']}"


def _name(item: Mapping[str, Any]) -> str:
    metadata = item["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def _content(item: Mapping[str, Any]) -> Any:
    content = json.loads(json.dumps(item))
    for volatile in _VOLATILE:
        content["metadata"].pop(volatile, None)
    # Node and pod controllers write the status all the time.
    content.pop("status", None)
    return content
