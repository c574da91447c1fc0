"""What the endpoints share: routes, refusals, and the checks of a request's fields."""

import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

Document = dict[str, Any]


class RefusalError(Exception):
    """The API refuses; carries what the answer holds."""

    def __init__(
        self, status: int, message: str, violations: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.violations = violations


class Route(NamedTuple):
    """An endpoint; `token` tells whether the cluster's own token is accepted."""

    method: str
    pattern: str
    action: str
    token: bool


def now() -> str:
    """Return the time as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def require_fields(body: Document, *fields: str, within: str = "") -> Document:
    """Return the body, or refuse a field that the request does not have."""
    if unknown := sorted(set(body) - set(fields)):
        raise RefusalError(
            400,
            "unknown field",
            tuple((within + name, "is no field of this request") for name in unknown),
        )
    return body


def required(body: Mapping[str, Any], name: str, kind: type, label: str = "") -> Any:
    """Return a field that must be there and not empty."""
    value = body.get(name)
    if not isinstance(value, kind) or not value:
        raise invalid(label or name, "is required")
    return value


def invalid(name: str, description: str) -> RefusalError:
    """Refuse a field's value."""
    return RefusalError(400, "invalid argument", ((name, description),))


def typed(body: Mapping[str, Any], kinds: Mapping[str, type], within: str = "") -> None:
    """Refuse values of another JSON type; absent fields and nulls pass."""
    for name, kind in kinds.items():
        value = body.get(name)
        if value is not None and type(value) is not kind:
            raise invalid(within + name, f"must be of type {kind.__name__}")


def bounded(body: Mapping[str, Any], name: str, least: int, most: int, within: str = "") -> None:
    """Refuse a number out of its bounds; an absent one passes."""
    value = body.get(name)
    if value is not None and not least <= value <= most:
        raise invalid(within + name, f"must be from {least} to {most}")


def chosen(body: Mapping[str, Any], name: str, allowed: Collection[str], within: str = "") -> None:
    """Refuse a word that is none of the allowed ones; an absent one passes."""
    value = body.get(name)
    if value is not None and value not in allowed:
        raise invalid(within + name, f"must be one of {', '.join(sorted(allowed))}")
