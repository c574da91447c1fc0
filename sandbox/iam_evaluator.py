"""Evaluates IAM documents as AWS does: identity policies, boundaries, trust policies.

The sandbox's AWS and the tests use this one evaluator. It follows the IAM User Guide, whose
examples tests/sandbox/test_iam_evaluator.py restates:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import datetime as dt
import functools
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Value = str | tuple[str, ...]
Document = Mapping[str, Any]
Decision = Literal["allow", "explicit deny", "implicit deny"]

Comparison = Callable[[str, str, "Request", str], bool]
"""Compares a value with an operand; gets the request and the language's version for variables."""

VARIABLES_SINCE = "2012-10-17"
"""First version of the policy language with policy variables."""


class UnsupportedConditionError(ValueError):
    """A condition that this evaluator cannot judge: an unknown operator or a wrong use of one."""


@dataclass(frozen=True)
class Request:
    """One action on one resource, with the condition keys that AWS fills in.

    A tuple is the value of a multi-valued key. Keys are case-insensitive, tag keys included.
    """

    action: str
    resource: str
    context: Mapping[str, Value] = field(default_factory=dict)

    @functools.cached_property
    def keys(self) -> dict[str, Value]:
        """Condition keys in lower case; keys that differ in case only are left out.

        A condition on a tag matches `Key` or `key`, "but not both":
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
        """
        spellings = Counter(key.lower() for key in self.context)
        return {
            lower: value
            for key, value in self.context.items()
            if spellings[lower := key.lower()] == 1
        }


def decide(policies: Iterable[Document], request: Request) -> Decision:
    """Decide by policies of one kind: any Deny wins; without an Allow the answer is no."""
    allowed = False
    for version, statement in statements(policies):
        if not applies(statement, request, version):
            continue
        if statement["Effect"] == "Deny":
            return "explicit deny"
        allowed = True
    return "allow" if allowed else "implicit deny"


def granting(policies: Iterable[Document], action: str) -> list[Document]:
    """Return the statements that cover the action, each as a document of its own."""
    return [
        {"Version": version, "Statement": [statement]}
        for version, statement in statements(policies)
        if covers_action(statement, action)
    ]


def may(policies: Iterable[Document], request: Request, *limits: Sequence[Document]) -> bool:
    """Whether the policies allow it within every limit (boundary, session policy, SCP)."""
    groups = [list(policies), *limits]
    return all(decide(group, request) == "allow" for group in groups)


def may_call(
    policies: Iterable[Document], parts: Iterable[Request], *limits: Sequence[Document]
) -> bool:
    """Whether a call is allowed that AWS judges once per resource, such as RunInstances."""
    documents = list(policies)
    return all(may(documents, part, *limits) for part in parts)


def may_assume(trust: Document, kind: str, principal: str, request: Request) -> bool:
    """Whether a trust policy admits `principal`; `kind` is AWS or Service."""
    decisions = set()
    for version, statement in statements([trust]):
        principals = as_list(statement.get("Principal", {}).get(kind, []))
        if (
            (principal in principals or "*" in principals)
            and covers_action(statement, request.action)
            and conditions_hold(statement.get("Condition", {}), request, version)
        ):
            decisions.add(statement["Effect"])
    return decisions == {"Allow"}


def applies(statement: Mapping[str, Any], request: Request, version: str = VARIABLES_SINCE) -> bool:
    """Whether every element of the statement matches the request."""
    return (
        covers_action(statement, request.action)
        and covers_resource(statement, request, version)
        and conditions_hold(statement.get("Condition", {}), request, version)
    )


def statements(policies: Iterable[Document]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each statement with its document's version of the policy language."""
    for policy in policies:
        version = policy.get("Version", "2008-10-17")
        for statement in as_list(policy.get("Statement", [])):
            yield version, statement


def as_list(value: Any) -> list[Any]:
    """Return a policy element as a list; it may be one value or a list of values."""
    return value if isinstance(value, list) else [value]


def covers_action(statement: Mapping[str, Any], action: str) -> bool:
    """Whether `Action` or `NotAction` covers the action; case-insensitive."""
    if "NotAction" in statement:
        return not _any_action(tuple(as_list(statement["NotAction"])), action)
    return _any_action(tuple(as_list(statement.get("Action", []))), action)


@functools.lru_cache(maxsize=500_000)
def _any_action(patterns: tuple[str, ...], action: str) -> bool:
    lower = action.lower()
    return any(_glob(pattern.lower()).fullmatch(lower) for pattern in patterns)


def covers_resource(
    statement: Mapping[str, Any], request: Request, version: str = VARIABLES_SINCE
) -> bool:
    """Whether `Resource` or `NotResource` covers the resource; case-sensitive.

    A `*` spans the colons of an ARN.
    """
    key = "NotResource" if "NotResource" in statement else "Resource"
    for pattern in as_list(statement.get(key, [])):
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
    """Return the pattern with its policy variables replaced; None if one has no value.

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


def conditions_hold(
    condition: Mapping[str, Mapping[str, Any]],
    request: Request,
    version: str = VARIABLES_SINCE,
) -> bool:
    """Whether every condition holds. Raises UnsupportedConditionError."""
    return all(
        _holds(operator, key, [str(v) for v in as_list(values)], request, version)
        for operator, block in condition.items()
        for key, values in block.items()
    )


_ARN_PARTS = 6
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


def _holds(operator: str, key: str, operands: list[str], request: Request, version: str) -> bool:
    actual = request.keys.get(key.lower())
    absent = actual is None or actual == ()
    if operator == "Null":
        return any(absent == (operand.lower() == "true") for operand in operands)
    qualifier, optional, negated, compare = _parsed(operator)

    def one(value: str) -> bool:
        # One operand must match; of a negated operator, none may.
        return negated != any(compare(value, operand, request, version) for operand in operands)

    if absent:
        if qualifier:
            return optional or qualifier == "ForAllValues:"
        return optional or negated
    if isinstance(actual, tuple):
        if not qualifier:
            raise UnsupportedConditionError(
                f"{key} is multi-valued: {operator} needs ForAllValues or ForAnyValue"
            )
        return (all if qualifier == "ForAllValues:" else any)(one(value) for value in actual)
    return one(actual)


@functools.cache
def _parsed(operator: str) -> tuple[str, bool, bool, Comparison]:
    """Return the qualifier, whether the key may be absent, whether to negate, the comparison."""
    qualifier = next((q for q in _QUALIFIERS if operator.startswith(q)), "")
    name = operator.removeprefix(qualifier)
    optional, name = name.endswith("IfExists"), name.removesuffix("IfExists")
    positive = _NEGATED.get(name, name)
    if positive not in _COMPARISONS:
        raise UnsupportedConditionError(f"condition operator {positive} is not supported")
    return qualifier, optional, name in _NEGATED, _COMPARISONS[positive]


def _string_equals(value: str, operand: str, request: Request, version: str) -> bool:
    if version < VARIABLES_SINCE or "${" not in operand:
        return value == operand
    # `*` outside of a variable is an ordinary character here.
    literal = re.sub(r"(?<!\{)([*?])(?!\})", r"${\1}", operand)
    pattern = _with_variables(literal, request, version)
    return pattern is not None and pattern.fullmatch(value) is not None


def _string_equals_ignoring_case(value: str, operand: str, request: Request, version: str) -> bool:
    return _string_equals(value.lower(), operand.lower(), request, version)


def _string_like(value: str, operand: str, request: Request, version: str) -> bool:
    pattern = _with_variables(operand, request, version)
    return pattern is not None and pattern.fullmatch(value) is not None


def _arn_like(value: str, operand: str, request: Request, version: str) -> bool:
    """Each of the six parts is compared by itself; ArnEquals and ArnLike behave alike."""
    parts, patterns = value.split(":", 5), operand.split(":", 5)
    if len(parts) != _ARN_PARTS or len(patterns) != _ARN_PARTS:
        return False
    return all(
        _string_like(part, pattern, request, version)
        for part, pattern in zip(parts, patterns, strict=True)
    )


def _bool(value: str, operand: str, _request: Request, _version: str) -> bool:
    return value.lower() == operand.lower()


def _binary(value: str, operand: str, _request: Request, _version: str) -> bool:
    return value == operand


def _ip(value: str, operand: str, _request: Request, _version: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(operand, strict=False)


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

_COMPARISONS: dict[str, Comparison] = {
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
