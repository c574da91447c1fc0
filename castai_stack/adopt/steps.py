"""What CAST AI gains and loses with each step of a take-over, by the texts of the policies."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from castai_stack.adopt import texts
from castai_stack.adopt.observations import Policy, Principal
from castai_stack.adopt.obstacles import INLINE
from castai_stack.adopt.texts import Permission
from castai_stack.iam.scope import Scope

Permissions = frozenset[Permission]

PRINCIPAL_POLICIES = "5, without `iam.principalPolicyArns`"


@dataclass(frozen=True, slots=True)
class Step:
    """Difference that one step makes; each field holds actions such as `ec2:RunInstances`."""

    step: str
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Actions that CAST AI keeps on other resources or under other conditions."""
    changes: tuple[str, ...] = ()
    """What changes besides: a sentence each."""


def permission_steps(
    principal: Principal,
    policies: Sequence[Policy],
    own: Collection[str],
    flavour: Literal["documented", "scoped"],
    scope: Scope,
) -> tuple[Step, ...]:
    """Return the steps in their order; `own` are the ARNs of the policies that are taken over.

    Policies of AWS have no text here. Settings of `iam` are the defaults.
    """
    attached = {one.arn: texts.permissions(one.document) for one in policies}
    inline = {name: texts.permissions(text) for name, text in principal.inline.items()}
    managed, restricted = texts.of_this_program(scope, flavour)
    # A user gets the cluster-scoped policy as a managed one beside its inline one.
    replaced = {name for name in inline if name.startswith(INLINE)}
    taken_inline = set() if principal.kind == "user" else replaced
    has_managed = any("Restricted" not in arn for arn in own)
    has_restricted = bool(taken_inline) or any("Restricted" in arn for arn in own)
    new = ([] if has_managed else [managed]) + ([] if has_restricted else [restricted])
    foreign = [text for arn, text in attached.items() if arn not in own]
    others = [text for name, text in inline.items() if name not in replaced]
    kept_inline = [inline[name] for name in replaced - taken_inline]
    states = [
        union(attached.values(), inline.values()),
        union(attached.values(), inline.values(), new),
        union(foreign, others, kept_inline, [managed, restricted]),
        union(foreign, others, [managed, restricted]),
        union(others, [managed, restricted]),
        union(others, texts.of_this_program(scope, "scoped")),
    ]
    names = (
        "2, first `pulumi up`",
        "3, `adoption.values: settings`",
        "4, the commands for afterwards",
        PRINCIPAL_POLICIES,
        "5, `permissions: scoped`",
    )
    pairs = zip(names, itertools.pairwise(states), strict=True)
    return tuple(difference(name, *pair) for name, pair in pairs)


def union(*groups: Collection[Permissions]) -> Permissions:
    """Return everything that the policies of all groups allow."""
    return frozenset().union(*(one for group in groups for one in group))


def difference(name: str, before: Permissions, after: Permissions) -> Step:
    """Return what a step changes, by action."""
    old, new = _by_action(before), _by_action(after)
    return Step(
        name,
        gains=tuple(sorted(new.keys() - old.keys())),
        loses=tuple(sorted(old.keys() - new.keys())),
        elsewhere=tuple(sorted(key for key in old.keys() & new.keys() if old[key] != new[key])),
    )


def _by_action(permissions: Permissions) -> dict[str, set[Permission]]:
    result: dict[str, set[Permission]] = {}
    for one in permissions:
        result.setdefault(one[1], set()).add(one)
    return result
