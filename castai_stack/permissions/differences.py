"""Gains and losses between two stacks."""

from collections.abc import Sequence
from dataclasses import dataclass

from castai_stack.permissions.actors import Access
from castai_stack.permissions.grants import Grant


@dataclass(frozen=True, slots=True)
class Difference:
    """What one actor gains and loses from one stack to the next."""

    title: str
    gains: tuple[Grant, ...]
    loses: tuple[Grant, ...]
    limits_added: tuple[str, ...]
    limits_removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.gains or self.loses or self.limits_added or self.limits_removed)


def differences(old: Access, new: Access) -> list[Difference]:
    """Compare by meaning: statements may be cut, merged and renamed without a difference."""
    before = {actor.title: actor for actor in old.actors}
    after = {actor.title: actor for actor in new.actors}
    found = []
    for title in dict.fromkeys([*before, *after]):
        was, now = before.get(title), after.get(title)
        had, has = (was.grants if was else ()), (now.grants if now else ())
        limited, limits = (was.limits if was else ()), (now.limits if now else ())
        found.append(
            Difference(
                title=title,
                gains=_beyond(has, had),
                loses=_beyond(had, has),
                limits_added=tuple(limit for limit in limits if was and limit not in limited),
                limits_removed=tuple(limit for limit in limited if now and limit not in limits),
            )
        )
    return [difference for difference in found if difference]


def _beyond(these: Sequence[Grant], those: Sequence[Grant]) -> tuple[Grant, ...]:
    return tuple(grant for grant in these if not any(other.covers(grant) for other in those))
