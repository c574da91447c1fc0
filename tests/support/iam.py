"""Decides requests as IAM does: a small evaluator of identity policies, boundaries and trust.

The rules are those of the IAM User Guide:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
Whatever it does not know is an error, so that no statement is passed over in silence.
"""

import datetime as dt
import functools
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Value = str | tuple[str, ...]
Document = Mapping[str, Any]
Decision = Literal["allow", "explicit deny", "implicit deny"]

VARIABLES_SINCE = "2012-10-17"


@dataclass(frozen=True)
class Request:
    """One action on one resource; a key that AWS does not fill is not in `context`.

    A tuple is a multi-valued key. Keys compare without case, also the part that is a tag's.
    """

    action: str
    resource: str
    context: Mapping[str, Value] = field(default_factory=dict)

    @functools.cached_property
    def keys(self) -> dict[str, Value]:
        found: dict[str, Value] = {}
        twice = set()
        for key, value in self.context.items():
            low = key.lower()
            if low in found:
                twice.add(low)
            found[low] = value
        # A condition on a tag matches `Key` or `key`, "but not both":
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
        return {key: value for key, value in found.items() if key not in twice}


def decide(policies: Iterable[Document], request: Request) -> Decision:
    """Decide by the policies of one kind: a denial wins, then an allowance, then nothing."""
    allowed = False
    for version, statement in _statements(policies):
        if not applies(statement, request, version):
            continue
        if statement["Effect"] == "Deny":
            return "explicit deny"
        allowed = True
    return "allow" if allowed else "implicit deny"


def granting(policies: Iterable[Document], action: str) -> list[Document]:
    """Return only the statements that name the action, which alone decide about it."""
    return [
        {"Version": version, "Statement": [statement]}
        for version, statement in _statements(policies)
        if _actions_match(statement, action)
    ]


def may(policies: Iterable[Document], request: Request, *limits: Sequence[Document]) -> bool:
    """Whether the policies allow it within every limit (boundary, session policy, SCP)."""
    groups = [list(policies), *limits]
    return all(decide(group, request) == "allow" for group in groups)


def may_call(
    policies: Iterable[Document], parts: Iterable[Request], *limits: Sequence[Document]
) -> bool:
    """Whether a call is allowed that AWS judges once per resource, such as RunInstances."""
    known = list(policies)
    return all(may(known, part, *limits) for part in parts)


def may_assume(trust: Document, kind: str, principal: str, request: Request) -> bool:
    """Whether a trust policy lets `principal` (of kind AWS or Service) in."""
    decisions = set()
    for version, statement in _statements([trust]):
        named = _as_list(statement.get("Principal", {}).get(kind, []))
        if (
            (principal in named or "*" in named)
            and _actions_match(statement, request.action)
            and _conditions_hold(statement.get("Condition", {}), request, version)
        ):
            decisions.add(statement["Effect"])
    return decisions == {"Allow"}


def applies(statement: Mapping[str, Any], request: Request, version: str = VARIABLES_SINCE) -> bool:
    """Whether every element of the statement matches the request."""
    return (
        _actions_match(statement, request.action)
        and _resources_match(statement, request, version)
        and _conditions_hold(statement.get("Condition", {}), request, version)
    )


def _statements(policies: Iterable[Document]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for policy in policies:
        version = policy.get("Version", "2008-10-17")
        for statement in _as_list(policy["Statement"]):
            yield version, statement


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _actions_match(statement: Mapping[str, Any], action: str) -> bool:
    """Actions compare without case."""
    if "NotAction" in statement:
        return not _names(tuple(_as_list(statement["NotAction"])), action)
    return _names(tuple(_as_list(statement["Action"])), action)


@functools.lru_cache(maxsize=500_000)
def _names(patterns: tuple[str, ...], action: str) -> bool:
    lower = action.lower()
    return any(_glob(pattern.lower()).fullmatch(lower) for pattern in patterns)


def _resources_match(statement: Mapping[str, Any], request: Request, version: str) -> bool:
    """Resources compare with case; a `*` is read as spanning the colons of an ARN."""
    key = "NotResource" if "NotResource" in statement else "Resource"
    for pattern in _as_list(statement[key]):
        expression = _with_variables(pattern, request, version)
        if expression is not None and expression.fullmatch(request.resource):
            return key == "Resource"
    return key != "Resource"


@functools.cache
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(_expression(pattern), re.DOTALL)


def _expression(pattern: str) -> str:
    return "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)


_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def _with_variables(pattern: str, request: Request, version: str) -> re.Pattern[str] | None:
    """Return the pattern with its policy variables filled in; None when one has no value.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    if version < VARIABLES_SINCE or "${" not in pattern:
        return _glob(pattern)
    parts, end = [], 0
    for match in _VARIABLE.finditer(pattern):
        parts.append(_expression(pattern[end : match.start()]))
        end = match.end()
        name, _, default = (part.strip() for part in match[1].partition(","))
        if name in ("*", "?", "$"):
            parts.append(re.escape(name))
            continue
        value = request.keys.get(name.lower(), default.strip("'") or None)
        if not isinstance(value, str):
            return None
        parts.append(re.escape(value))
    parts.append(_expression(pattern[end:]))
    return re.compile("".join(parts), re.DOTALL)


def _conditions_hold(
    condition: Mapping[str, Mapping[str, Any]], request: Request, version: str
) -> bool:
    return all(
        _holds(operator, key, [str(v) for v in _as_list(values)], request, version)
        for operator, block in condition.items()
        for key, values in block.items()
    )


_QUALIFIERS = ("ForAllValues:", "ForAnyValue:")
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def _holds(operator: str, key: str, wanted: list[str], request: Request, version: str) -> bool:
    found = request.keys.get(key.lower())
    if operator == "Null":
        return any((found is None) == (value.lower() == "true") for value in wanted)
    qualifier = next((q for q in _QUALIFIERS if operator.startswith(q)), "")
    name = operator.removeprefix(qualifier)
    optional, name = name.endswith("IfExists"), name.removesuffix("IfExists")
    negated = name in _NEGATED
    compare = _COMPARISONS[_NEGATED.get(name, name)]

    def one(value: str) -> bool:
        # Several wanted values: one must match; of a negated operator, none may.
        return negated != any(compare(value, w, request, version) for w in wanted)

    if found is None or found == ():
        if qualifier:
            return optional or qualifier == "ForAllValues:"
        return optional or negated
    if isinstance(found, tuple):
        if not qualifier:
            raise ValueError(f"{key} is multi-valued: {operator} needs ForAllValues or ForAnyValue")
        return (all if qualifier == "ForAllValues:" else any)(one(value) for value in found)
    return one(found)


def _string_equals(value: str, wanted: str, request: Request, version: str) -> bool:
    if version < VARIABLES_SINCE or "${" not in wanted:
        return value == wanted
    # `*` outside of a variable is an ordinary character here.
    literal = re.sub(r"(?<!\{)([*?])(?!\})", r"${\1}", wanted)
    pattern = _with_variables(literal, request, version)
    return pattern is not None and pattern.fullmatch(value) is not None


def _string_equals_ignoring_case(value: str, wanted: str, request: Request, version: str) -> bool:
    return _string_equals(value.lower(), wanted.lower(), request, version)


def _string_like(value: str, wanted: str, request: Request, version: str) -> bool:
    pattern = _with_variables(wanted, request, version)
    return pattern is not None and pattern.fullmatch(value) is not None


def _arn_like(value: str, wanted: str, request: Request, version: str) -> bool:
    """Each of the six parts is compared by itself; ArnEquals and ArnLike behave alike."""
    parts, patterns = value.split(":", 5), wanted.split(":", 5)
    if len(parts) != 6 or len(patterns) != 6:
        return False
    return all(
        _string_like(part, pattern, request, version)
        for part, pattern in zip(parts, patterns, strict=True)
    )


def _bool(value: str, wanted: str, _request: Request, _version: str) -> bool:
    return value.lower() == wanted.lower()


def _binary(value: str, wanted: str, _request: Request, _version: str) -> bool:
    return value == wanted


def _ip(value: str, wanted: str, _request: Request, _version: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)


def _when(text: str) -> float:
    if re.fullmatch(r"\d+", text):
        return float(text)
    return dt.datetime.fromisoformat(text).timestamp()


_ORDERS = {
    "Equals": lambda a, b: a == b,
    "LessThan": lambda a, b: a < b,
    "LessThanEquals": lambda a, b: a <= b,
    "GreaterThan": lambda a, b: a > b,
    "GreaterThanEquals": lambda a, b: a >= b,
}

_COMPARISONS: dict[str, Any] = {
    "StringEquals": _string_equals,
    "StringEqualsIgnoreCase": _string_equals_ignoring_case,
    "StringLike": _string_like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _bool,
    "BinaryEquals": _binary,
    "IpAddress": _ip,
    **{
        f"Numeric{name}": lambda v, w, _r, _v, order=order: order(float(v), float(w))
        for name, order in _ORDERS.items()
    },
    **{
        f"Date{name}": lambda v, w, _r, _v, order=order: order(_when(v), _when(w))
        for name, order in _ORDERS.items()
    },
}
