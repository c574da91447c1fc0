"""Permissions that one stack has and another one has not."""

from collections.abc import Sequence
from dataclasses import dataclass

from castai_stack.permissions.actors import Actor, EffectivePermissions
from castai_stack.permissions.grants import Grant


@dataclass(frozen=True, slots=True)
class Difference:
    """Grants that an actor gains and loses between two stacks."""

    title: str
    gains: tuple[Grant, ...]
    loses: tuple[Grant, ...]
    limits_added: tuple[str, ...]
    limits_removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.gains or self.loses or self.limits_added or self.limits_removed)


def differences(old: EffectivePermissions, new: EffectivePermissions) -> list[Difference]:
    """Return the actors whose permissions differ.

    Grants are compared by what they allow, so statements may be split, merged and renamed.
    """
    before = {actor.title: actor for actor in old.actors}
    after = {actor.title: actor for actor in new.actors}
    compared = [
        _difference(title, before.get(title), after.get(title))
        for title in dict.fromkeys([*before, *after])
    ]
    return [difference for difference in compared if difference]


def _difference(title: str, old: Actor | None, new: Actor | None) -> Difference:
    old_grants, new_grants = (actor.grants if actor else () for actor in (old, new))
    old_limits, new_limits = (actor.limits if actor else () for actor in (old, new))
    return Difference(
        title=title,
        gains=_beyond(new_grants, old_grants),
        loses=_beyond(old_grants, new_grants),
        # An actor that comes or goes has no limits to compare.
        limits_added=tuple(limit for limit in new_limits if old and limit not in old_limits),
        limits_removed=tuple(limit for limit in old_limits if new and limit not in new_limits),
    )


def _beyond(grants: Sequence[Grant], others: Sequence[Grant]) -> tuple[Grant, ...]:
    return tuple(grant for grant in grants if not any(other.covers(grant) for other in others))
