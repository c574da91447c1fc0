"""Property values as the engine sends them, and as Python values.

The markers are those of `sdk/go/common/resource/plugin/rpc.go` in `pulumi/pulumi`.
"""

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SEALED_MARK = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT_MARK = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_ASSET_MARK = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE_MARK = "0def7320c3a5731c473e5ecbe6d01bc7"
_RESOURCE_MARK = "5cf8f73096256a8f31e491e813e4eb8e"
_UNKNOWN_MARK = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS = frozenset(
    {
        _UNKNOWN_MARK,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)

type_name: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


class Unknown:
    """A value that is not known before the resource it comes from exists."""

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that the engine shall keep encrypted."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(...)"


@dataclass(frozen=True)
class Asset:
    """One file."""

    hash: str
    text: str


@dataclass(frozen=True)
class Archive:
    """Files and folders by their names."""

    hash: str
    assets: dict[str, "Asset | Archive"]


class UnsupportedValueError(ValueError):
    """A kind of value that the stand-in does not take."""


def _special(value: dict[str, Any]) -> Any:
    mark = value[_SIGNATURE]
    if mark == _SEALED_MARK:
        return value["value"]
    if mark == _OUTPUT_MARK:
        return value.get("value", UNKNOWN)
    if mark in (_ASSET_MARK, _ARCHIVE_MARK) and value.keys() & {"uri", "path"}:
        raise UnsupportedValueError(
            "the stand-in takes assets of text and archives of such, neither paths nor addresses"
        )
    if mark == _ASSET_MARK:
        return Asset(value.get("hash", ""), value.get("text", ""))
    if mark == _ARCHIVE_MARK:
        return Archive(value.get("hash", ""), value.get("assets", {}))
    if mark == _RESOURCE_MARK:
        return value.get("id", UNKNOWN)
    raise UnsupportedValueError(f"a value of the unknown kind {mark} is not taken by the stand-in")


def to_python(value: struct_pb2.Value) -> Any:
    """Return the plain value; secrets lose their envelope, whole numbers become integers."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = properties(value.struct_value)
        return _special(fields) if _SIGNATURE in fields else fields
    if kind == "list_value":
        return [to_python(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "bool_value":
        return value.bool_value
    return None


def properties(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Return the properties of a message as a dict, without those that are null."""
    plain = {name: to_python(value) for name, value in struct.fields.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _to_json(value: Any) -> Any:
    if value is UNKNOWN:
        return _UNKNOWN_MARK
    if isinstance(value, Secret):
        return {_SIGNATURE: _SEALED_MARK, "value": _to_json(value.value)}
    if isinstance(value, (Asset, Archive)):
        mark = _ASSET_MARK if isinstance(value, Asset) else _ARCHIVE_MARK
        body = {name: _to_json(item) for name, item in vars(value).items() if item is not None}
        return {_SIGNATURE: mark, **body}
    if isinstance(value, dict):
        return {name: _to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return value


def to_struct(values: dict[str, Any]) -> struct_pb2.Struct:
    """Return the message that carries these properties."""
    struct = struct_pb2.Struct()
    struct.update(_to_json(values))
    return struct


def holds_unknown(value: Any) -> bool:
    """Whether the value or any part of it is unknown."""
    if isinstance(value, dict):
        return any(holds_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_unknown(item) for item in value)
    return value is UNKNOWN
