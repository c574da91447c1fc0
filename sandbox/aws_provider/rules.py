"""Checks of values that the provider makes before it calls AWS.

Each rule answers with a sentence when the value does not fit, otherwise with nothing.
"""

import json
import re
from collections.abc import Callable
from typing import Any

Rule = Callable[[Any], str | None]

_ARN = re.compile(r"^arn:aws[\w-]*:[\w.-]+:[\w-]*:(\d{12}|aws|aws-managed|)?:.+$")


def length(most: int, least: int = 1) -> Rule:
    """Text of so many characters."""

    def rule(value: Any) -> str | None:
        if least <= len(str(value)) <= most:
            return None
        return f"must have {least} to {most} characters, has {len(str(value))}"

    return rule


def name(most: int, allowed: str) -> Rule:
    """Text of 1 to `most` characters, each of the character class `allowed`."""
    pattern = re.compile(f"^[{allowed}]*$")

    def rule(value: Any) -> str | None:
        problem = length(most)(value)
        if problem is None and not pattern.match(str(value)):
            problem = f"{value!r} must consist of the characters {allowed}"
        return problem

    return rule


def matching(pattern: str, message: str) -> Rule:
    """Text that matches as a whole."""
    compiled = re.compile(pattern)
    return lambda value: None if compiled.fullmatch(str(value)) else f"{value!r} must be {message}"


def one_of(*allowed: Any) -> Rule:
    """One of these values."""
    choices = ", ".join(str(item) for item in allowed)
    return lambda value: None if value in allowed else f"expected one of {choices}, got {value!r}"


def between(least: int, most: int) -> Rule:
    """Require a number within bounds."""

    def rule(value: Any) -> str | None:
        if least <= value <= most:
            return None
        return f"expected a number from {least} to {most}, got {value}"

    return rule


def arn(value: Any) -> str | None:
    """ARN of any service; the empty text counts as absent."""
    if value == "" or _ARN.match(str(value)):
        return None
    return f"{value!r} is not an ARN (arn:<partition>:<service>:<region>:<account>:<resource>)"


def document(value: Any) -> str | None:
    """JSON text; the value itself is not repeated, it may be long."""
    if isinstance(value, dict):
        return None
    try:
        json.loads(value)
    except ValueError as error:
        return f"contains an invalid JSON document: {error}"
    return None


def policy(value: Any) -> str | None:
    """JSON object without space in front, as IAM takes it."""
    if isinstance(value, str) and not value.startswith("{"):
        return "contains an invalid JSON policy: it must be an object and start with {"
    return document(value)


def each(rule: Rule) -> Rule:
    """Apply a rule to every item of a list; the first problem counts."""
    return lambda values: next(filter(None, map(rule, values)), None)
