"""Evaluates IAM policy documents: who may do what to which resource, and why not.

Follows https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
for identity policies and a permissions boundary. What it does not know, it refuses to judge.
"""

import functools
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Decision = Literal["allowed", "explicitDeny", "implicitDeny"]
Context = Mapping[str, Sequence[str]]
"""Condition keys in lower case, each with all its values."""


class UnknownConditionError(Exception):
    """A condition operator that this evaluator does not know."""


@dataclass(frozen=True)
class Policy:
    """A document with the name under which it is attached."""

    name: str
    document: str
    kind: str = "IAM Policy"


@dataclass(frozen=True)
class Verdict:
    """A decision with the policies whose statements led to it."""

    decision: Decision
    matched: tuple[Policy, ...] = ()
    missing: tuple[str, ...] = ()
    """Condition keys that a statement asked for and the request did not carry."""
    boundary: Decision | None = None


def evaluate(
    policies: Iterable[Policy],
    boundary: Policy | None,
    action: str,
    resource: str,
    context: Context,
) -> Verdict:
    """Judge one action on one resource."""
    own = _judge(policies, action, resource, context)
    if boundary is None:
        return own
    border = _judge([boundary], action, resource, context)
    if own.decision == "allowed" and border.decision != "allowed":
        return Verdict(border.decision, (), (*own.missing, *border.missing), border.decision)
    return Verdict(own.decision, own.matched, own.missing, border.decision)


def _judge(policies: Iterable[Policy], action: str, resource: str, context: Context) -> Verdict:
    allowing, denying, missing = [], [], []
    for policy in policies:
        for statement in _about(policy.document, action):
            if not _covers_resource(statement, resource, context):
                continue
            holds, absent = conditions_hold(statement.get("Condition", {}), context)
            missing += absent
            if holds:
                (denying if statement["Effect"] == "Deny" else allowing).append(policy)
    lacking = tuple(dict.fromkeys(missing))
    if denying:
        return Verdict("explicitDeny", tuple(dict.fromkeys(denying)), lacking)
    if allowing:
        return Verdict("allowed", tuple(dict.fromkeys(allowing)), lacking)
    return Verdict("implicitDeny", (), lacking)


def statements(document: str) -> list[dict[str, Any]]:
    """Every statement of a document."""
    return list(_statements(document))


@functools.lru_cache(maxsize=4096)
def _statements(document: str) -> tuple[dict[str, Any], ...]:
    found = json.loads(document).get("Statement", [])
    return (found,) if isinstance(found, dict) else tuple(found)


@functools.lru_cache(maxsize=8192)
def _about(document: str, action: str) -> tuple[dict[str, Any], ...]:
    # A document such as ReadOnlyAccess has more than a thousand patterns.
    return tuple(s for s in _statements(document) if covers_action(s, action))


def as_list(value: Any) -> list[Any]:
    """Policy elements may be one value or a list of them."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def covers_action(statement: Mapping[str, Any], action: str) -> bool:
    """Whether `Action` or `NotAction` takes in `action`, case aside."""
    if "NotAction" in statement:
        return not _any_action(statement["NotAction"], action)
    return _any_action(statement.get("Action", []), action)


def _any_action(patterns: Any, action: str) -> bool:
    return any(fits(pattern.lower(), action.lower()) for pattern in as_list(patterns))


def _covers_resource(statement: Mapping[str, Any], resource: str, context: Context) -> bool:
    if "NotResource" in statement:
        return not any(
            fits(_filled(pattern, context), resource)
            for pattern in as_list(statement["NotResource"])
        )
    return any(
        fits(_filled(pattern, context), resource)
        for pattern in as_list(statement.get("Resource", []))
    )


def fits(pattern: str, text: str) -> bool:
    """`*` for any run of characters, `?` for any one."""
    return pattern == "*" or _pattern(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=16384)
def _pattern(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"([*?])", pattern)
    jokers = {"*": ".*", "?": "."}
    return re.compile("".join(jokers.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)


def _filled(pattern: str, context: Context) -> str:
    def value(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(",")
        if name in ("*", "?", "$"):
            return name
        found = context.get(name.strip().lower())
        # An unknown variable makes the pattern fit nothing.
        return found[0] if found else default.strip().strip("'") or "\0"

    return re.sub(r"\$\{([^}]+)\}", value, pattern)


def conditions_hold(
    conditions: Mapping[str, Mapping[str, Any]], context: Context
) -> tuple[bool, list[str]]:
    """Whether every condition holds, and the keys that the request does not carry."""
    missing: list[str] = []
    holds = True
    for operator, pairs in conditions.items():
        for key, wanted in pairs.items():
            found = context.get(key.lower())
            if not found:
                missing.append(key)
            holds = _condition(operator, found, as_list(wanted), context) and holds
    return holds, missing


def _condition(
    operator: str, found: Sequence[str] | None, wanted: list[Any], context: Context
) -> bool:
    quantifier, _, bare = operator.rpartition(":")
    if_exists = bare.endswith("IfExists")
    bare = bare.removesuffix("IfExists")
    if bare == "Null":
        return (not found) == (str(wanted[0]).lower() == "true")
    compare = _OPERATORS.get(bare)
    if compare is None or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        raise UnknownConditionError(f"the sandbox cannot judge the condition {operator}")
    negated = bare.startswith(("StringNot", "ArnNot", "NumericNot", "DateNot", "NotIp"))
    if not found:
        # A missing key fails a positive test; a negated one, and the two below, it passes.
        return if_exists or negated or quantifier == "ForAllValues"
    values = [_filled(str(value), context) for value in wanted]

    def one(value: str, compare: Callable[[str, str], bool] = compare) -> bool:
        hit = any(compare(value, text) for text in values)
        return not hit if negated else hit

    if quantifier == "ForAllValues":
        return all(one(value) for value in found)
    if quantifier == "ForAnyValue":
        return any(one(value) for value in found)
    return all(one(value) for value in found) if negated else any(one(value) for value in found)


def _moment(text: str) -> datetime:
    if re.fullmatch(r"\d+", text):
        return datetime.fromtimestamp(int(text), UTC)
    return datetime.fromisoformat(text)


def _in_network(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def _equal(a: str, b: str) -> bool:
    return a == b


def _equal_but_case(a: str, b: str) -> bool:
    return a.lower() == b.lower()


def _like(a: str, b: str) -> bool:
    return fits(b, a)


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringNotEquals": _equal,
    "StringEqualsIgnoreCase": _equal_but_case,
    "StringNotEqualsIgnoreCase": _equal_but_case,
    "StringLike": _like,
    "StringNotLike": _like,
    "ArnEquals": _like,
    "ArnNotEquals": _like,
    "ArnLike": _like,
    "ArnNotLike": _like,
    "Bool": _equal_but_case,
    "NumericEquals": lambda a, b: float(a) == float(b),
    "NumericNotEquals": lambda a, b: float(a) == float(b),
    "NumericLessThan": lambda a, b: float(a) < float(b),
    "NumericLessThanEquals": lambda a, b: float(a) <= float(b),
    "NumericGreaterThan": lambda a, b: float(a) > float(b),
    "NumericGreaterThanEquals": lambda a, b: float(a) >= float(b),
    "DateLessThan": lambda a, b: _moment(a) < _moment(b),
    "DateGreaterThan": lambda a, b: _moment(a) > _moment(b),
    "IpAddress": _in_network,
    "NotIpAddress": _in_network,
}


def context_keys(documents: Iterable[str]) -> Iterator[str]:
    """Condition keys that the documents ask for, as written."""
    seen: set[str] = set()
    for document in documents:
        for statement in statements(document):
            for pairs in statement.get("Condition", {}).values():
                for key in pairs:
                    if key.lower() not in seen:
                        seen.add(key.lower())
                        yield key
