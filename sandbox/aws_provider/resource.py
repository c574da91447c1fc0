"""Resource types as tables: their properties, AWS's names for them, and the calls that apply them.

`Resource` carries a table out over boto3; a subclass overrides a method where AWS is special.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sandbox.aws_provider import documents
from sandbox.aws_provider.account import (
    Account,
    RefusedError,
    absent_is_fine,
    code,
    is_absent,
    message,
)
from sandbox.aws_provider.rules import Rule
from sandbox.aws_provider.schema import Shape
from sandbox.aws_provider.wire import UNKNOWN, Archive, Asset

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

Properties = dict[str, Any]
DEFAULTS = "__defaults"
TAG_PROPERTIES = frozenset({"tags", "tagsAll"})
_SUFFIX = 7  # hexadecimal digits of a generated name


@dataclass(frozen=True)
class Field:
    """One input property."""

    replaces: bool = False
    """AWS cannot change it in place: another value needs another object."""
    default: Any = None
    """Value that the provider fills in."""
    computed: bool = False
    """AWS's value stays when the program sets none."""
    rule: Rule | None = None
    kind: Literal["plain", "document", "set"] = "plain"
    """How values compare: as they are, as JSON documents, or regardless of order."""
    call: str | None = ""
    """Name in AWS's API; empty: the property's name in the service's spelling. None: not sent."""
    nested: int = 0
    """Levels of objects within the value whose keys AWS spells with a capital first letter."""
    empty: Any = ""
    """Value that an update sends in place of one that the program no longer sets."""


Fields = dict[str, Field]
REGION = {"region": Field(replaces=True, computed=True, call=None)}
TAGS = {"tags": Field(call=None), "tagsAll": Field(call=None)}


@dataclass(frozen=True)
class Tagging:
    """How a service tags: `tag_<noun>` and `untag_<noun>`, on one argument."""

    noun: str
    argument: str
    property: str = "arn"
    """Property whose value the argument takes."""
    style: Literal["list", "Map", "map"] = "list"
    """`Tags` as a list of keys and values, `Tags` as an object, or `tags` as an object."""
    read: str = ""
    """Call that lists the tags; empty: the object's description holds them."""

    def _key(self) -> str:
        return "tags" if self.style == "map" else "Tags"

    def of_new(self, tags: Mapping[str, str]) -> dict[str, Any]:
        """Arguments for a call that creates or tags an object."""
        if not tags:
            return {}
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        return {self._key(): pairs if self.style == "list" else dict(tags)}

    def parse(self, answer: Mapping[str, Any]) -> dict[str, str]:
        """Tags within an answer."""
        tags = answer.get(self._key()) or {}
        if isinstance(tags, dict):
            return tags
        return {tag["Key"]: tag["Value"] for tag in tags}

    def apply(self, client: Any, target: str, old: Properties, new: Properties) -> None:
        """Set and remove tags where old and new differ."""
        before, after = old.get("tagsAll") or {}, new.get("tagsAll") or {}
        if removed := [key for key in before if key not in after]:
            keys = "tagKeys" if self.style == "map" else "TagKeys"
            getattr(client, f"untag_{self.noun}")(**{self.argument: target, keys: removed})
        if changed := {key: value for key, value in after.items() if before.get(key) != value}:
            tag = getattr(client, f"tag_{self.noun}")
            tag(**{self.argument: target}, **self.of_new(changed))


@dataclass(frozen=True)
class Listing:
    """Where an object is found in a list: the item whose `match` equals a property's value."""

    operation: str
    items: str
    match: str
    property: str
    parents: dict[str, str]
    """Properties that select the list, by the argument that takes them."""


class Resource:
    """One resource type.

    `create` makes the object and returns its id; `complete` does what else a new object needs, so
    that a failure there leaves an object that the engine knows.
    """

    aws_type: ClassVar[str]
    service: ClassVar[str]
    fields: ClassVar[Fields]
    outputs: ClassVar[dict[str, str]] = {}
    """Properties that AWS decides, by AWS's name."""
    key: ClassVar[dict[str, str]] = {}
    """Properties that name the object in every call, by their argument."""
    separator: ClassVar[str] = ""
    """Character between the key's values in an id."""
    import_separator: ClassVar[str] = ""
    """The same in an id to import, where it differs."""
    create_call: ClassVar[str] = ""
    read_call: ClassVar[str] = ""
    delete_call: ClassVar[str] = ""
    within: ClassVar[str] = ""
    """Key of the answer to `read_call` that holds the description."""
    listing: ClassVar[Listing | None] = None
    updates: ClassVar[dict[str, frozenset[str]]] = {}
    """Properties by the call that changes them; empty: `create_call` overwrites the object."""
    tagging: ClassVar[Tagging | None] = None
    passing: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Errors that pass by themselves: code, and a part of the message."""
    waits_for_parent: ClassVar[bool] = False
    """An absent parent may have been created a moment ago."""
    settles: ClassVar[dict[str, float]] = {}
    """Seconds that the real provider waits after `create`, `update` or `delete`."""
    autoname: ClassVar[tuple[str, int] | None] = None
    """Property that gets a name when the program gives none, and the greatest length."""
    deletes_first: ClassVar[bool] = False
    """Old and new are the same object to AWS, whatever their names."""
    secrets: ClassVar[frozenset[str]] = frozenset()
    stale_after_update: ClassVar[frozenset[str]] = frozenset()
    """Outputs that are unknown until an update is complete."""

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        """Check what concerns parts of a property or several; unknown values are left out."""
        del values
        yield from ()

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        """Parse an id to import: return the object's id, and the properties that it holds."""
        del aws
        separator = self.import_separator or self.separator
        parts = identifier.split(separator, len(self.key) - 1) if separator else [identifier]
        if len(parts) != len(self.key) or not all(parts):
            form = separator.join(self.key)
            raise RefusedError(f"unexpected id {identifier!r}, expected {form}")
        properties = dict(zip(self.key, parts, strict=True))
        return self.identifier(properties, {}), properties

    def identifier(self, properties: Properties, answer: Mapping[str, Any]) -> str:
        """Id of an object, of its properties and the answer to its creation."""
        del answer
        return self.separator.join(properties[name] for name in self.key)

    def created_outputs(self, answer: Mapping[str, Any]) -> Properties:
        """Return outputs that only the answer to the creation holds."""
        del answer
        return {}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        """Make the object; return its id, and outputs that can be had only now."""
        tags = self.tagging.of_new(inputs.get("tagsAll", {})) if self.tagging else {}
        answer = self.call(
            aws, inputs, self.create_call, **self.target(inputs), **self.arguments(inputs), **tags
        )
        outputs = self.created_outputs(answer)
        return self.identifier({**inputs, **outputs}, answer), outputs

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        """Do what else a new object needs."""

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        """Return AWS's values, None for absent ones; nothing when the object is gone."""
        with absent_is_fine():
            description = self.find(aws, identifier, state)
            if description is None:
                return None
            properties: Properties = {name: state[name] for name in self.key if name in state}
            if "region" in self.fields:
                properties["region"] = state.get("region", aws.region)
            for name, field in self.fields.items():
                if field.call is not None and name not in properties:
                    properties[name] = _received(field, description.get(self.spelled(name)))
            for name, spelling in self.outputs.items():
                properties[name] = _received(Field(), description.get(spelling))
            if tagging := self.tagging:
                if tagging.read:
                    target = {tagging.argument: {**state, **properties}[tagging.property]}
                    description = self._operation(aws, state, tagging.read)(**target)
                properties["tagsAll"] = tagging.parse(description)
            return properties
        return None

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        """Return AWS's own description of the object, or nothing when it is gone."""
        del identifier
        if self.listing is None:
            answer = self._operation(aws, state, self.read_call)(**self.target(state))
            return answer[self.within] if self.within else answer
        listing = self.listing
        parents = {argument: state[name] for argument, name in listing.parents.items()}
        for item in self.every(aws, state, listing.operation, listing.items, **parents):
            if item[listing.match] == state[listing.property]:
                return item
        return None

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        """Change the object in place."""
        del identifier
        target = self.target({**old, **new})
        if not self.updates and any(self.fields[name].call is not None for name in changed):
            self.call(aws, new, self.create_call, **target, **self.arguments(new))
        for operation, names in self.updates.items():
            if names & changed:
                arguments = self.changed_arguments(new, names & changed)
                self.call(aws, new, operation, **target, **arguments)
        if self.tagging:
            client = aws.client(self.service, new.get("region"))
            self.tagging.apply(client, {**old, **new}[self.tagging.property], old, new)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        """Remove the object; an absent one is fine."""
        del identifier
        with absent_is_fine():
            delete = self._operation(aws, state, self.delete_call)
            aws.retry(lambda: delete(**self.target(state)), self._passes)

    def target(self, properties: Properties) -> dict[str, Any]:
        """Arguments that name the object, as far as the properties do."""
        return {
            argument: properties[name] for name, argument in self.key.items() if name in properties
        }

    def spelled(self, name: str) -> str:
        """Name of a property in AWS's API."""
        if name in self.key and name in self.fields:
            return self.key[name]
        call = self.fields[name].call
        lower = self.service in ("eks", "logs")
        return call or (name if lower else name[0].upper() + name[1:])

    def arguments(self, inputs: Properties) -> dict[str, Any]:
        """Arguments for all properties that have a value, besides those that name the object."""
        return {
            self.spelled(name): _sent(field, inputs[name])
            for name, field in self.fields.items()
            if field.call is not None and name not in self.key and not _says_nothing(inputs, name)
        }

    def changed_arguments(self, new: Properties, names: frozenset[str]) -> dict[str, Any]:
        """Arguments for these properties, empty ones for those without a value."""
        fields = ((name, self.fields[name]) for name in sorted(names))
        return {
            self.spelled(name): field.empty if new.get(name) is None else _sent(field, new[name])
            for name, field in fields
        }

    def _operation(self, aws: Account, properties: Properties, name: str) -> Callable[..., Any]:
        return getattr(aws.client(self.service, properties.get("region")), name)

    def call(self, aws: Account, properties: Properties, name: str, **arguments: Any) -> Any:
        """Call AWS, repeatedly while the error is one that passes."""
        operation = self._operation(aws, properties, name)

        def passes(error: "ClientError") -> bool:
            return self._passes(error) or (self.waits_for_parent and is_absent(error))

        return aws.retry(lambda: operation(**arguments), passes)

    def every(
        self, aws: Account, properties: Properties, name: str, items: str, **arguments: Any
    ) -> list[Any]:
        """Items of all pages of a list."""
        paginator = aws.client(self.service, properties.get("region")).get_paginator(name)
        return [item for page in paginator.paginate(**arguments) for item in page[items]]

    def _passes(self, error: "ClientError") -> bool:
        return any(code(error) == name and part in message(error) for name, part in self.passing)


@dataclass(frozen=True)
class Lookup:
    """A question to AWS: its arguments, and the function that answers it."""

    ask: Callable[[Account, Properties], Properties]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


def moment(value: datetime) -> str:
    """Point in time as the provider writes it."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _says_nothing(inputs: Properties, name: str) -> bool:
    return inputs.get(name) in (None, "", [], {})


def _sent(field: Field, value: Any) -> Any:
    return _respelled(value, field.nested, str.upper)


def _received(field: Field, value: Any) -> Any:
    """Value of a property out of AWS's description; absent when it says nothing."""
    if value in (None, "", [], {}):
        return field.default
    if isinstance(value, datetime):
        return moment(value)
    if field.kind == "document":
        return documents.text(value)
    return _respelled(value, field.nested, str.lower)


def _respelled(value: Any, levels: int, change: Callable[[str], str]) -> Any:
    if not levels or not isinstance(value, dict):
        return value
    return {
        change(key[0]) + key[1:]: _respelled(item, levels - 1, change)
        for key, item in value.items()
        if item not in (None, {})
    }


@dataclass(frozen=True)
class Change:
    """A difference between the current and the desired value of a property."""

    path: str
    kind: Literal["ADD", "DELETE", "UPDATE"]
    replaces: bool

    @property
    def property(self) -> str:
        """Name of the whole property that the path leads into."""
        return self.path.partition(".")[0].partition("[")[0]


def generated_name(logical: str, seed: bytes, most: int) -> str:
    """Name of an object whose program gives none: logical name and random digits."""
    suffix = hashlib.sha256(seed).hexdigest()[:_SUFFIX]
    return f"{logical[: most - _SUFFIX - 1]}-{suffix}"


def is_empty(value: Any) -> bool:
    """Whether a value says no more than its absence."""
    return value is None or value is False or value in ("", 0) or value in ([], {})


def same(field: Field, old: Any, new: Any) -> bool:
    """Whether a current and a desired value of a property mean the same."""
    if is_empty(old) and is_empty(new):
        return True
    if isinstance(old, (Archive, Asset)) and isinstance(new, (Archive, Asset)):
        return old.hash == new.hash
    if field.kind == "document" and isinstance(old, str) and isinstance(new, str):
        return documents.same(old, new)
    if field.kind == "set" and isinstance(old, list) and isinstance(new, list):
        return sorted(map(str, old)) == sorted(map(str, new))
    return _pruned(old) == _pruned(new)


def _pruned(value: Any) -> Any:
    """Drop empty parts, and spell scalars alike."""
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if not is_empty(item)}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def compare(resource: Resource, state: Properties, desired: Properties) -> list[Change]:
    """List what has to change, property by property."""
    changes = []
    for name, field in resource.fields.items():
        old, new = state.get(name), desired.get(name)
        if (new is None and field.computed) or same(field, old, new):
            continue
        whole = field.kind != "plain"
        paths = [(name, old, new)] if whole else _inner(name, old, new)
        for path, before, after in paths:
            kind = "ADD" if before is None else "DELETE" if after is None else "UPDATE"
            changes.append(Change(path, kind, field.replaces))
    return changes


def _inner(path: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """Follow objects and lists of one length down to what differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        parts = [(_step(path, key), old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        parts = [(f"{path}[{index}]", before, after) for index, (before, after) in pairs]
    else:
        return [(path, old, new)]
    different = [part for part in parts if not same(Field(), part[1], part[2])]
    return [leaf for part in different for leaf in _inner(*part)]


def _step(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() else f'{path}["{key}"]'


def deletes_before_replace(resource: Resource, desired: Properties) -> bool:
    """Whether a replacement deletes the old object first, as the bridge decides it.

    So it is for objects that are the same to AWS, and for those whose name the program chose
    (`nameRequiresDeleteBeforeReplace` in `pkg/tfbridge/schema.go`, pulumi-terraform-bridge).
    """
    if resource.deletes_first:
        return True
    if resource.autoname is None or resource.autoname[0] not in desired:
        return False
    return DEFAULTS in desired and resource.autoname[0] not in desired[DEFAULTS]


def plan(resource: Resource, shape: Shape, state: Properties, desired: Properties) -> Properties:
    """Return outputs as far as they are known; `state` is empty for a new object."""
    planned = {name: value for name, value in desired.items() if name != DEFAULTS}
    for name in shape.outputs:
        field = resource.fields.get(name)
        settable = name in shape.inputs if field is None else not field.computed
        if name not in planned and settable and name not in resource.outputs:
            continue
        stale = not state or name in resource.stale_after_update
        planned.setdefault(name, UNKNOWN if stale else state.get(name))
    return {name: value for name, value in planned.items() if value is not None}
