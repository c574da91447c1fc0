"""Values that a preview does not know yet, as the host of dynamic resources hands them over."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from pulumi.output import Unknown
from pulumi.runtime.rpc import UNKNOWN


class ResourceFailed(Exception):  # noqa: N818 - a state of the resource, told to a person
    """An operation on a resource cannot succeed; the text is a sentence without a secret."""


def tell(text: str) -> None:
    """Show a line to the person who runs this; the engine passes on what plugins write here."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the only way out of a plugin


def warn(text: str) -> None:
    """Show a warning, in previews as well."""
    tell(f"warning: {text}")


def is_known(value: object) -> bool:
    """Whether a value is there to compare with; in a preview some are not yet."""
    return value is not None and not is_unknown(value)


def differs(olds: Mapping[str, Any], news: Mapping[str, Any], *names: str) -> list[str]:
    """Names whose wanted value is known and is another than the one there is."""
    return [name for name in names if is_known(news.get(name)) and olds.get(name) != news[name]]


def unknown(news: Mapping[str, Any], *names: str) -> bool:
    """Whether any wanted value is not known yet."""
    return any(is_unknown(news.get(name)) for name in names)


def switched_on(name: str) -> bool:
    """Whether an environment switch is set to something."""
    return os.environ.get(name, "").strip().lower() not in ("", "0", "no", "false")


def is_unknown(value: object) -> bool:
    """Tell whether the engine will know this value only later.

    The SDK spells it as a string on the wire and as an object of its own in `check` and `diff`.
    """
    return isinstance(value, Unknown) or value == UNKNOWN
