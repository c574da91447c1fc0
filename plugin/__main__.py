"""The provider plugin of this repository, started by Pulumi by its path in `Pulumi.yaml`."""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from castai_stack.plugin.server import serve
from castai_stack.stack.resource_types import RESOURCE_TYPES

# Components bring pydantic and the whole SDK, which no preview of this repository waits for.
serve(
    RESOURCE_TYPES,
    sys.argv[1:],
    lambda: importlib.import_module("castai_stack.components.host"),
)
