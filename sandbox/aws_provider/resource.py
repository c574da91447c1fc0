"""What a resource type is to the engine: its properties, and how they compare."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from sandbox.aws_provider import documents
from sandbox.aws_provider.account import Account
from sandbox.aws_provider.rules import Rule
from sandbox.aws_provider.wire import UNKNOWN, Archive, Asset

Properties = dict[str, Any]
DEFAULTS = "__defaults"
_SUFFIX = 7  # hexadecimal digits of a chosen name


@dataclass(frozen=True)
class Field:
    """One input property."""

    replaces: bool = False
    """AWS cannot change it: another value needs another object."""
    default: Any = None
    """What the provider fills in."""
    computed: bool = False
    """What AWS has stays when the program says nothing."""
    rule: Rule | None = None
    kind: Literal["plain", "document", "set", "part"] = "plain"
    """How values compare: as they are, as JSON documents, without regard to order, or only in
    those parts of an object that the program names, because AWS fills in the others."""


Fields = dict[str, Field]


@dataclass(frozen=True)
class Change:
    """A difference between what is and what is wanted."""

    path: str
    kind: Literal["ADD", "DELETE", "UPDATE"]
    replaces: bool

    @property
    def property(self) -> str:
        """Name of the whole property that the path leads into."""
        return self.path.partition(".")[0].partition("[")[0]


class Resource:
    """One resource type; a subclass says what is asked of AWS.

    `create` makes the object and answers its id; what else belongs to a new object is done by
    `complete`, so that an object is never forgotten when that fails.
    """

    aws_type: ClassVar[str]
    fields: ClassVar[Fields]
    autoname: ClassVar[tuple[str, int] | None] = None
    """Property that gets a name when the program gives none, and the longest such name."""
    deletes_first: ClassVar[bool] = False
    """Old and new are the same thing to AWS, whatever their names."""
    secrets: ClassVar[frozenset[str]] = frozenset()
    stale_after_update: ClassVar[frozenset[str]] = frozenset()
    """Outputs that nobody knows before an update is through."""

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        """Check what concerns more than one property; unknown values are left out."""
        del values
        yield from ()

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        """Understand the id that `pulumi import` was given: the real id, and what it tells."""
        del aws
        return identifier, {}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        """Make the object; answer its id, and outputs that can be had only now."""
        raise NotImplementedError

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        """Do the rest that a new object needs."""

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        """Answer what AWS has, with None for what it has not; nothing when the object is gone."""
        raise NotImplementedError

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        """Bring the object to what is wanted."""
        raise NotImplementedError

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        """Remove the object; one that is gone already is fine."""
        raise NotImplementedError


def chosen_name(logical: str, seed: bytes, most: int) -> str:
    """Name of an object whose program gives none: logical name and random digits."""
    suffix = hashlib.sha256(seed).hexdigest()[:_SUFFIX]
    return f"{logical[: most - _SUFFIX - 1]}-{suffix}"


def is_empty(value: Any) -> bool:
    """Whether a value says no more than its absence."""
    return value is None or value is False or value in ("", 0) or value in ([], {})


def same(field: Field, old: Any, new: Any) -> bool:
    """Whether an old and a wanted value of a property come to the same."""
    if is_empty(old) and is_empty(new):
        return True
    if field.kind == "part" and isinstance(old, dict) and isinstance(new, dict):
        old = {key: old.get(key) for key in new}
    if isinstance(old, (Archive, Asset)) and isinstance(new, (Archive, Asset)):
        return old.hash == new.hash
    if field.kind == "document" and isinstance(old, str) and isinstance(new, str):
        return documents.same(old, new)
    if field.kind == "set" and isinstance(old, list) and isinstance(new, list):
        return sorted(map(str, old)) == sorted(map(str, new))
    return _pruned(old) == _pruned(new)


def _pruned(value: Any) -> Any:
    """Leave out what says nothing, and spell scalars alike."""
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if not is_empty(item)}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def compare(resource: Resource, state: Properties, wanted: Properties) -> list[Change]:
    """List what has to change, property by property."""
    changes = []
    for name, field in resource.fields.items():
        old, new = state.get(name), wanted.get(name)
        if (new is None and field.computed) or same(field, old, new):
            continue
        if field.kind == "part" and isinstance(old, dict) and isinstance(new, dict):
            old = {key: old.get(key) for key in new}
        whole = field.kind in ("document", "set")
        paths = [(name, old, new)] if whole else _inner(name, old, new)
        for path, was, becomes in paths:
            kind = "ADD" if was is None else "DELETE" if becomes is None else "UPDATE"
            changes.append(Change(path, kind, field.replaces))
    return changes


def _inner(path: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """Follow objects and lists of one length down to what differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        parts = [(_step(path, key), old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        parts = [(f"{path}[{index}]", was, becomes) for index, (was, becomes) in pairs]
    else:
        return [(path, old, new)]
    different = [part for part in parts if not same(Field(), part[1], part[2])]
    return [leaf for part in different for leaf in _inner(*part)]


def _step(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() else f'{path}["{key}"]'


def deletes_before_replace(resource: Resource, wanted: Properties) -> bool:
    """Whether a replacement has to go before the new one comes, as the bridge decides it.

    So it is for objects that are the same to AWS, and for those whose name the program chose
    (`nameRequiresDeleteBeforeReplace` in `pkg/tfbridge/schema.go`, pulumi-terraform-bridge).
    """
    if resource.deletes_first:
        return True
    if resource.autoname is None or resource.autoname[0] not in wanted:
        return False
    return DEFAULTS in wanted and resource.autoname[0] not in wanted[DEFAULTS]


def plan(
    resource: Resource, outputs: list[str], state: Properties, wanted: Properties
) -> Properties:
    """Give the outputs as far as they are known before; `state` is empty for a new object."""
    planned = {name: value for name, value in wanted.items() if name != DEFAULTS}
    for name in outputs:
        if name not in planned and name in resource.fields and not resource.fields[name].computed:
            continue
        stale = not state or name in resource.stale_after_update
        planned.setdefault(name, UNKNOWN if stale else state.get(name))
    return {name: value for name, value in planned.items() if value is not None}
