"""Properties of a resource that are fields of an object at CAST AI: both directions, as values.

The service sends an object with all of its fields, some of them in another spelling than they were
set in, and leaves some out that have their zero value. Only fields that a program sets are
compared, and both sides in one spelling.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from castai_stack.plugin.values import is_unknown

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class RemoteField:
    """Place of a property in an object at CAST AI."""

    path: str
    """Keys from the top of the object, with dots between."""
    send: Callable[[Any], Any] = _same
    """From the property's value to the service's."""
    read: Callable[[Any], Any] = _same
    """From the service's value, in any of its spellings, to the property's."""
    absent: Any = None
    """Property's value that a missing field stands for."""


Fields = Mapping[str, RemoteField]


def body(fields: Fields, props: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object to send: the fields that are set, nested as the service wants them."""
    document: dict[str, Any] = {}
    for name, field in fields.items():
        if props.get(name) is None:
            continue
        *groups, last = field.path.split(".")
        place = document
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = field.send(props[name])
    return document


def over(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object to send where the service gives a default to what a section leaves out.

    Sections of `wanted` hold the fields of `existing` besides their own, apart from statuses.
    """
    return {key: _over(existing.get(key), value) for key, value in wanted.items()}


def _over(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**_without_status(old), **over(old, new)}
    return new


def _without_status(section: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_status(value) if isinstance(value, Mapping) else value
        for key, value in section.items()
        if key != "status"
    }


def values(
    fields: Fields, remote: Mapping[str, Any], names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the properties that an object at the service stands for; None is left out."""
    wanted = fields if names is None else [name for name in fields if name in set(names)]
    every = {name: _value(fields[name], remote) for name in wanted}
    return {name: value for name, value in every.items() if value is not None}


def _value(field: RemoteField, remote: Mapping[str, Any]) -> Any:
    place: Any = remote
    for key in field.path.split("."):
        place = place.get(key) if isinstance(place, Mapping) else None
    return field.absent if place is None else field.read(place)


def differences(
    fields: Fields, olds: Mapping[str, Any], news: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return old and new value of every field that is set, and known, and differs."""
    return {
        name: (olds.get(name), news[name])
        for name in fields
        if news.get(name) is not None
        and not holds_unknown(news[name])
        and olds.get(name) != news[name]
    }


def change_text(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Return changes as a text for a log line."""
    return "; ".join(
        f"{name}: {_value_text(old)} -> {_value_text(new)}" for name, (old, new) in changes.items()
    )


def _value_text(value: Any) -> str:
    if value is None:
        return "nothing"
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, list) else str(value)


def holds_unknown(value: Any) -> bool:
    """Return True if a value, or one in it, is known only after another resource exists."""
    if isinstance(value, list):
        return any(map(holds_unknown, value))
    if isinstance(value, Mapping):
        return any(map(holds_unknown, value.values()))
    return is_unknown(value)


def canonical(props: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties in the spelling of this program: lists are sets, so they are sorted."""
    return {name: ordered(value) for name, value in props.items()}


def ordered(value: Any) -> Any:
    """Return a list in the order that this program keeps; any other value as it is."""
    if not isinstance(value, list) or holds_unknown(value):
        return value
    return sorted(value, key=str)


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as a list, in which no key is taken for the name of a property."""
    return ordered([{"key": key, "value": value} for key, value in tags.items()])


def tag_map(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return tags as the service takes them."""
    return {tag["key"]: tag["value"] for tag in tags}


def seconds(duration: str) -> int | str:
    """Return the seconds of a Go duration such as `5m0s`; a text that is none stays as it is.

    Source: https://pkg.go.dev/time#ParseDuration
    """
    parts = _DURATION.findall(str(duration))
    if "".join(number + unit for number, unit in parts) != duration:
        return duration
    return round(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def go_duration(number: int) -> str:
    """Return seconds as a Go duration."""
    return f"{number}s"
