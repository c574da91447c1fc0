"""Parameters checked against the service's own model: lengths, patterns, what must be there.

moto accepts names of any length; AWS refuses them before anything else.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

from sandbox.aws.protocol import ApiRequest, AwsError

_CODES = {
    "cloudwatch": "ValidationError",
    "eks": "InvalidParameterException",
    "events": "ValidationException",
    "iam": "ValidationError",
    "lambda": "ValidationException",
    "logs": "InvalidParameterException",
    "secretsmanager": "ValidationException",
    "sqs": "InvalidParameterValue",
    "sts": "ValidationError",
}


def validate(request: ApiRequest) -> None:
    """Refuse parameters that the service's model does not allow."""
    code = _CODES.get(request.service.model)
    shape = request.operation.input_shape
    if code is None or shape is None:
        return
    problems = list(_problems(shape, request.params, ""))
    if problems:
        plural = "" if len(problems) == 1 else "s"
        raise AwsError(
            code, f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}"
        )


def _problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        yield from _members(shape, value, path)
    elif kind == "list" and isinstance(value, list):
        yield from _length(shape, value, path, "list")
        for number, item in enumerate(value, 1):
            yield from _problems(shape.member, item, f"{path}.{number}.member")
    elif kind == "map" and isinstance(value, dict):
        for key, item in value.items():
            yield from _problems(shape.key, key, path)
            yield from _problems(shape.value, item, path)
    elif kind == "string" and isinstance(value, str):
        yield from _text(shape, value, path)
    elif kind in ("integer", "long") and isinstance(value, int):
        yield from _number(shape, value, path)


def _members(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.metadata.get("required", []):
        if value.get(name) is None:
            yield _problem("null", _join(path, name), "Member must not be null")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _problems(member, value[name], _join(path, name))


def _text(shape: Any, value: str, path: str) -> Iterator[str]:
    text = "***" if shape.metadata.get("sensitive") else _cut(value)
    yield from _length(shape, value, path, text)
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield _problem(text, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    compiled = _pattern(pattern) if pattern else None
    if compiled is not None and not compiled.fullmatch(value):
        yield _problem(text, path, f"Member must satisfy regular expression pattern: {pattern}")


def _length(shape: Any, value: Any, path: str, text: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and len(value) < least:
        yield _problem(text, path, f"Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _problem(text, path, f"Member must have length less than or equal to {most}")


def _number(shape: Any, value: int, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _problem(str(value), path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _problem(str(value), path, f"Member must have value less than or equal to {most}")


def _problem(text: str, path: str, rule: str) -> str:
    return f"Value '{text}' at '{path}' failed to satisfy constraint: {rule}"


def _join(path: str, name: str) -> str:
    own = name[:1].lower() + name[1:]
    return f"{path}.{own}" if path else own


def _cut(value: str, limit: int = 200) -> str:
    return value if len(value) <= limit else value[:limit] + "..."


@functools.cache
def _pattern(pattern: str) -> re.Pattern[str] | None:
    """Compile a pattern of the model: Java's, of which some are not Python's and left to moto."""
    try:
        return re.compile(pattern, re.ASCII)
    except re.error:
        return None
