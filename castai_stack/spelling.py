"""Names of properties: snake_case in Python, camelCase for the engine."""

import re


def camel(name: str) -> str:
    """Return the engine's name of a property."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def snake(name: str) -> str:
    """Return the name of a property in Python."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", name)
