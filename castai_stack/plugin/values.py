"""Property values as the engine sends them and as the handlers see them.

The markers are those of `sdk/go/common/resource/plugin/rpc.go` and `sdk/go/common/resource/sig` in
`pulumi/pulumi`. Names are camelCase on the wire and snake_case in Python, at the top level only:
keys below it are data.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import struct_pb2

from castai_stack.spelling import camel, snake

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a marker, the same everywhere
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands for a value that is known only after another resource exists, of any type."""


class UnsupportedValueError(ValueError):
    """A kind of value that no property of this plugin takes."""


def is_unknown(value: object) -> bool:
    """Return True if the value is known only after another resource exists."""
    return value == UNKNOWN


def properties(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Return the properties of a message, without secrets' envelopes and without nulls."""
    plain = {snake(name): _plain(value) for name, value in struct.fields.items()}
    return {name: value for name, value in plain.items() if value is not None}


def secret_names(struct: struct_pb2.Struct) -> frozenset[str]:
    """Return the properties that are secret, or hold a secret."""
    return frozenset(snake(name) for name, value in struct.fields.items() if _holds_secret(value))


def message(values: Mapping[str, Any], secrets: Iterable[str] = ()) -> struct_pb2.Struct:
    """Return the message with these properties; those in `secrets` are marked as such."""
    hidden = frozenset(secrets)
    struct = struct_pb2.Struct()
    struct.update(
        {
            camel(name): {_SIGNATURE: _SECRET, "value": value} if name in hidden else value
            for name, value in values.items()
        }
    )
    return struct


def _plain(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        marked = _SIGNATURE in fields
        return _marked(fields) if marked else {name: _plain(one) for name, one in fields.items()}
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    if kind == "number_value" and value.number_value.is_integer():
        return int(value.number_value)
    return getattr(value, kind) if kind not in (None, "null_value") else None


def _marked(fields: Mapping[str, struct_pb2.Value]) -> Any:
    mark = fields[_SIGNATURE].string_value
    if mark not in (_SECRET, _OUTPUT):
        raise UnsupportedValueError("assets, archives and resources are not taken as properties")
    return _plain(fields["value"]) if "value" in fields else UNKNOWN


def _holds_secret(value: struct_pb2.Value) -> bool:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return any(map(_holds_secret, value.list_value.values))
    if kind != "struct_value":
        return False
    fields = value.struct_value.fields
    mark = fields[_SIGNATURE].string_value if _SIGNATURE in fields else ""
    return mark == _SECRET or any(map(_holds_secret, fields.values()))
