"""The engine's protobuf messages, without the rest of the Pulumi SDK.

The SDK keeps the generated messages three packages deep, and importing those runs the whole SDK,
which takes most of the start of a plugin. Where it has not been imported yet, empty packages stand
in for these three while the messages are loaded.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_PACKAGES = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")


def load(*names: str) -> list[ModuleType]:
    """Import these modules of `pulumi.runtime.proto`; raises LookupError without the SDK."""
    stand_ins = _stand_ins()
    sys.modules.update(stand_ins)
    try:
        return [importlib.import_module(f"{_PACKAGES[-1]}.{name}") for name in names]
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _stand_ins() -> dict[str, ModuleType]:
    if "pulumi" in sys.modules:
        return {}
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        raise LookupError("the Pulumi SDK is not installed: the plugin takes its messages from it")
    folder = Path(spec.origin).parent
    packages = {name: ModuleType(name) for name in _PACKAGES}
    for name, package in packages.items():
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
    return packages
