"""Inventories of two life cycles, compared without what differs by chance."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sandbox import inventory
from sandbox.inventory import Inventory

_MADE_BY_THE_CLUSTER = (
    "Pod ",
    "ReplicaSet ",
    "ControllerRevision ",
    "EndpointSlice ",
    "Endpoints ",
    "PodMetrics ",
)
"""Kinds whose names are random, and which follow from what is compared."""

_OTHER_EACH_TIME = (
    "API_KEY|ca[.]crt|castai-eks/(?:key-digest|source-version)"
    "|deployment[.]kubernetes[.]io/revision|deprecated[.]daemonset[.]template[.]generation"
)
_RANDOM = (
    (r"\bA(?:KIA|ROA|IDA|NPA|NVA|IPA)[A-Z0-9]{10,}", "<id>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b(vpc|subnet|sg|i)-[0-9a-f]{8,17}\b", r"<\1>"),
    (r"sha256:[0-9a-f]{64}", "<digest>"),
    (r"-[0-9a-f]{7}\b", "-<random>"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)", "<date>"),
    (r"127\.0\.0\.1:\d+", "<address>"),
    (rf'("(?:{_OTHER_EACH_TIME})": )"[^"]*"', r'\1"<other each time>"'),
)


class DeviationError(Exception):
    """After a crash, the way back did not lead where it must; the message says what is other."""


def comparable(things_by_kind: Inventory, cluster_id: str) -> Inventory:
    """Return an inventory in which names and contents of two runs can be compared.

    Two things whose names differ in a random part only are kept apart, so that a duplicate shows.
    """
    result: Inventory = {}
    for kind, things in things_by_kind.items():
        if kind.startswith(_MADE_BY_THE_CLUSTER):
            continue
        general = sorted(
            (
                _without_random(name, cluster_id),
                _without_random(json.dumps(_in_force(content)), cluster_id),
            )
            for name, content in things.items()
        )
        counts: Counter[str] = Counter()
        result[kind] = {}
        for name, content in general:
            counts[name] += 1
            number = f" ({counts[name]})" if counts[name] > 1 else ""
            result[kind][name + number] = json.loads(content)
    return result


def _in_force(content: Any) -> Any:
    """Reduce a policy to its default version: an update in place keeps the one before."""
    if not isinstance(content, dict) or not {"default", "versions"} <= set(content):
        return content
    document = content["versions"][content["default"]]
    return {**content, "default": "in force", "versions": {"in force": document}}


def _without_random(text: str, cluster_id: str) -> str:
    text = text.replace(cluster_id, "<cluster>").replace(cluster_id[:8], "<cluster>")
    for pattern, general in _RANDOM:
        text = re.sub(pattern, general, text)
    return text


def require_same(
    expected: Mapping[str, Inventory], current: Mapping[str, Inventory], otherwise: str
) -> None:
    """Raise DeviationError with every difference; `otherwise` ends "other ...: "."""
    other = [
        f"{where}: {difference}{_where(expected[where], current[where], difference)}"
        for where in expected
        for difference in inventory.differences(expected[where], current[where])
    ]
    if other:
        raise DeviationError(f"other {otherwise}: " + "; ".join(other))


def _where(old: Inventory, new: Inventory, difference: inventory.Difference) -> str:
    """Show the first difference of two contents."""
    if difference.what != "changed":
        return ""
    texts = [
        json.dumps(one[difference.kind][difference.name], sort_keys=True) for one in (old, new)
    ]
    part = next((n for n, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    before, now = (text[max(part - 60, 0) : part + 60] for text in texts)
    return f" (was ...{before}..., is ...{now}...)"
