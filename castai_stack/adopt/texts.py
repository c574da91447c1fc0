"""Comparison of policy texts: what an existing policy allows, and what CAST AI publishes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from castai_stack.iam.castai_policy import castai_policy
from castai_stack.iam.document import listed
from castai_stack.iam.documented import documented_castai, documented_restricted
from castai_stack.iam.restricted_policy import restricted_policy
from castai_stack.iam.scope import Scope
from castai_stack.iam.settings import Iam

Permission = tuple[str, str, str, str]
"""Effect, action, resource and condition, each in one spelling."""


def permissions(document: Mapping[str, Any]) -> frozenset[Permission]:
    """Return every combination of action and resource of a policy, with its condition."""
    return frozenset(one for statement in listed(document["Statement"]) for one in _of(statement))


def published(scope: Scope) -> frozenset[Permission]:
    """Return what `permissions: documented` grants: the published texts of all years."""
    statements = [*documented_castai(scope), *documented_restricted(scope)]
    return permissions({"Statement": statements})


def of_this_program(
    scope: Scope, flavour: Literal["documented", "scoped"]
) -> tuple[frozenset[Permission], frozenset[Permission]]:
    """Return what CastEKSPolicy and the cluster-scoped policy grant with default settings of `iam`.

    `flavour` is the setting `permissions`.
    """
    settings = Iam()
    return (
        permissions(castai_policy(scope, flavour, settings)),
        permissions(restricted_policy(scope, flavour, settings)),
    )


def unknown_sids(document: Mapping[str, Any], known: frozenset[Permission]) -> tuple[str, ...]:
    """Return the Sid, or the number, of each statement with more than the published texts."""
    return tuple(
        str(statement.get("Sid") or f"statement {number}")
        for number, statement in enumerate(listed(document["Statement"]), 1)
        if not set(_of(statement)) <= known
    )


def trusted(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return everybody who may assume a role, in the spelling of the trust policy."""
    arns = []
    for statement in listed(document.get("Statement", [])):
        if statement.get("Effect") != "Allow":
            continue
        principals = statement.get("Principal", statement.get("NotPrincipal", "*"))
        if not isinstance(principals, Mapping):
            arns.append(str(principals))
            continue
        arns += [str(one) for values in principals.values() for one in listed(values)]
    return tuple(sorted(set(arns)))


def _of(statement: Mapping[str, Any]) -> Iterator[Permission]:
    condition = json.dumps(_spelled(statement.get("Condition") or {}), sort_keys=True)
    actions = listed(statement.get("Action", statement.get("NotAction", [])))
    resources = listed(statement.get("Resource", statement.get("NotResource", [])))
    negated = "not " if "NotAction" in statement or "NotResource" in statement else ""
    for action in actions:
        for resource in resources:
            yield f"{negated}{statement['Effect']}", action.lower(), resource, condition


def _spelled(condition: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    return {
        operator: {key: sorted(map(str, listed(values))) for key, values in keys.items()}
        for operator, keys in condition.items()
    }
