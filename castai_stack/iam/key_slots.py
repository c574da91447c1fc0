"""Two slots for access keys, so that a rotation never leaves CAST AI without a valid one.

AWS allows two keys per user. Generation N lives in slot `a` when N is even and in `b` when it is
odd: rotating replaces the older key, which is out of use, while the newer one stays in use until
the new one has been handed over.
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
    """One place for a key, and what should be in it."""

    name: SlotName
    generation: int
    """Changes when the slot must get another key: the trigger of the replacement."""
    status: KeyStatus
    current: bool
    """Whether this is the key to hand over."""


def slots(
    generation: int, *, delete_inactive: bool = False, keep_previous_active: bool = False
) -> tuple[Slot, ...]:
    """Return the slots at a generation, the current one first.

    The key before stays, inactive, until the next rotation or until `delete_inactive`.
    `keep_previous_active` is for keys that a person hands over: nobody knows when that is done.
    """
    if generation < 0:
        raise ValueError(f"generation: found {generation}; allowed: 0 or more")
    current = Slot(_name(generation), generation, "Active", current=True)
    if generation == 0 or delete_inactive:
        return (current,)
    status: KeyStatus = "Active" if keep_previous_active else "Inactive"
    return (current, Slot(_name(generation - 1), generation - 1, status, current=False))


def exceeds(found: Iterable[str], held: Iterable[Slot]) -> bool:
    """Tell whether a user has more keys, or more active ones, than these slots hold.

    `found` are the statuses of the user's keys. Then one of them was made outside of the stack, or
    a rotation broke off.
    """
    there, ours = Counter(found), Counter(slot.status for slot in held)
    return there["Active"] > ours["Active"] or there.total() > ours.total()


def _name(generation: int) -> SlotName:
    return "b" if generation % 2 else "a"
