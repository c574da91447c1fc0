"""Verdicts of attached policies and a boundary, as AWS's simulator and its refusals report them.

`sandbox.iam_evaluator` judges the statements. This module adds which policies matched, which
condition keys were missing, and a cache of parsed documents.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sandbox import iam_evaluator
from sandbox.iam_evaluator import Request, conditions_hold, covers_action, covers_resource

Decision = Literal["allowed", "explicitDeny", "implicitDeny"]
Context = Mapping[str, Sequence[str]]
"""Condition keys, each with all its values."""
_Statement = tuple[str, Mapping[str, Any]]
"""A statement behind its document's version of the policy language."""


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
    """Condition keys of the matching statements that the request does not carry."""
    boundary: Decision | None = None


def evaluate(
    policies: Iterable[Policy],
    boundary: Policy | None,
    action: str,
    resource: str,
    context: Context,
) -> Verdict:
    """Judge one action on one resource. Raises UnsupportedConditionError."""
    query = request(action, resource, context)
    own = _judge(policies, query)
    if boundary is None:
        return own
    limit = _judge([boundary], query)
    if own.decision == "allowed" and limit.decision != "allowed":
        return Verdict(limit.decision, (), (*own.missing, *limit.missing), limit.decision)
    return Verdict(own.decision, own.matched, own.missing, limit.decision)


def request(action: str, resource: str, context: Context) -> Request:
    """Return the evaluator's request; a key with several values is multi-valued."""
    values = {key: tuple(several) for key, several in context.items() if several}
    return Request(
        action,
        resource,
        {key: value[0] if len(value) == 1 else value for key, value in values.items()},
    )


def _judge(policies: Iterable[Policy], query: Request) -> Verdict:
    allowing, denying, missing = [], [], []
    for policy in policies:
        for version, statement in _covering(policy.document, query.action):
            if not covers_resource(statement, query, version):
                continue
            condition = statement.get("Condition", {})
            missing += [key for key in _keys(statement) if key.lower() not in query.keys]
            if conditions_hold(condition, query, version):
                (denying if statement["Effect"] == "Deny" else allowing).append(policy)
    absent = tuple(dict.fromkeys(missing))
    if denying:
        return Verdict("explicitDeny", tuple(dict.fromkeys(denying)), absent)
    if allowing:
        return Verdict("allowed", tuple(dict.fromkeys(allowing)), absent)
    return Verdict("implicitDeny", (), absent)


def statements(document: str) -> list[Mapping[str, Any]]:
    """Return every statement of a document."""
    return [statement for _, statement in _parsed(document)]


@functools.lru_cache(maxsize=4096)
def _parsed(document: str) -> tuple[_Statement, ...]:
    return tuple(iam_evaluator.statements([json.loads(document)]))


@functools.lru_cache(maxsize=8192)
def _covering(document: str, action: str) -> tuple[_Statement, ...]:
    # A document such as ReadOnlyAccess has more than a thousand patterns.
    return tuple(pair for pair in _parsed(document) if covers_action(pair[1], action))


def _keys(statement: Mapping[str, Any]) -> Iterator[str]:
    for pairs in statement.get("Condition", {}).values():
        yield from pairs
