"""The engine's messages, without the rest of the Pulumi SDK.

The SDK keeps the generated messages three packages deep, and importing those runs the whole SDK,
which takes most of the start of a plugin or a language host. Where it has not been imported yet,
empty packages stand in for these three while the messages are loaded.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_PACKAGES = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")


def _place() -> list[str]:
    """Put empty packages where the SDK is not imported; give their names."""
    if "pulumi" in sys.modules:
        return []
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        raise LookupError("the Pulumi SDK is not installed: the plugin takes its messages from it")
    folder = Path(spec.origin).parent
    for name in _PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    return list(_PACKAGES)


_placed = _place()
try:
    from pulumi.runtime.proto import (
        language_pb2,
        language_pb2_grpc,
        plugin_pb2,
        provider_pb2,
        status_pb2,
    )
finally:
    for _name in _placed:
        del sys.modules[_name]

__all__ = ["language_pb2", "language_pb2_grpc", "plugin_pb2", "provider_pb2", "status_pb2"]
