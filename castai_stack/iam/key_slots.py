"""Two slots for access keys, so that CAST AI has a valid key throughout a rotation.

AWS allows two keys per user. Generation N occupies slot `a` if N is even and slot `b` if it is
odd. A rotation replaces the older key, which is out of use; the newer one stays in use until the
replacement has been handed over.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

SlotName = Literal["a", "b"]
KeyStatus = Literal["Active", "Inactive"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Desired content of one slot."""

    name: SlotName
    generation: int
    """Trigger of the replacement: the slot gets another key when it changes."""
    status: KeyStatus
    current: bool
    """True if CAST AI is handed this key."""


def slots(
    generation: int, *, delete_inactive: bool = False, keep_previous_active: bool = False
) -> tuple[Slot, ...]:
    """Return the slots at a generation, the current one first.

    The previous key stays, inactive, until the next rotation or until `delete_inactive`.
    `keep_previous_active` is for keys that a person hands over, at a time the program cannot see.
    Raises ValueError for a negative generation.
    """
    if generation < 0:
        raise ValueError(f"generation: found {generation}; allowed: 0 or more")
    current = Slot(_name(generation), generation, "Active", current=True)
    if generation == 0 or delete_inactive:
        return (current,)
    status: KeyStatus = "Active" if keep_previous_active else "Inactive"
    return (current, Slot(_name(generation - 1), generation - 1, status, current=False))


def exceeds(statuses: Iterable[str], desired: Iterable[Slot]) -> bool:
    """Return True if a user has more keys, or more active keys, than the desired slots.

    `statuses` are those of the user's keys in AWS. An excess key was created outside of the stack,
    or a rotation was interrupted.
    """
    actual, expected = Counter(statuses), Counter(slot.status for slot in desired)
    return actual["Active"] > expected["Active"] or actual.total() > expected.total()


def _name(generation: int) -> SlotName:
    return "b" if generation % 2 else "a"
