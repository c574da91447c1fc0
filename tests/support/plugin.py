"""Handlers of the plugin, called as its server calls them."""

import sys
from typing import Any, TypeVar

from castai_stack.plugin.handler import Handler
from castai_stack.plugin.run import Run, Settings, Severity

H = TypeVar("H", bound=Handler)


def handler(handler_class: type[H], **inputs: Any) -> H:
    """Make a handler under these inputs of the provider; its log goes to stderr."""
    return handler_class(Run(Settings.of(inputs), _log))


def _log(severity: Severity, text: str) -> None:
    sys.stderr.write(f"{'warning: ' if severity == 'warning' else ''}{text}\n")
