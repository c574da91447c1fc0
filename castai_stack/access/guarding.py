"""The lists of the map for an edit, and the refusal where a guard stands against the result."""

from collections.abc import Collection, Mapping

from castai_stack.access import guards as access_guards
from castai_stack.access.entries import KEYS, WHERE, Kind, Listing, UnreadableError
from castai_stack.access.guards import Caller, Guard, Refusal, State
from castai_stack.access.protocol import (
    OVERRIDE_SETTING,
    OVERRIDE_VARIABLE,
    RefusedError,
    Snapshot,
)
from castai_stack.access.reader import parse


def readable(
    live: Snapshot, kind: Kind, overrides: Collection[str], warning: str
) -> tuple[Listing, tuple[str, ...]]:
    """Return the list to edit, and warnings; an unreadable one is empty if its guard is overridden.

    Raises RefusedError for an unreadable list otherwise.
    """
    allowed = "unreadable" in overrides
    try:
        listing = parse(kind, live.data.get(KEYS[kind]))
    except UnreadableError as error:
        if not allowed:
            raise refused([Refusal("unreadable", str(error))]) from None
        return parse(kind, None), (warning.format(error=error),)
    for item in () if allowed else listing.items:
        if not isinstance(item.value, dict):
            reason = (
                f"{WHERE}: {KEYS[kind]} must be a list of mappings, and its item {item.index + 1} "
                "is none; correct that item by hand"
            )
            raise refused([Refusal("unreadable", reason)])
    return listing, ()


def state(data: Mapping[str, str], parsed: Mapping[Kind, Listing]) -> State:
    """Return both lists, those of `parsed` as they are; an unreadable one has no mapping."""

    def listing(kind: Kind) -> Listing:
        if kind in parsed:
            return parsed[kind]
        try:
            return parse(kind, data.get(KEYS[kind]))
        except UnreadableError:
            return parse(kind, None)

    return State(listing("role"), listing("user"))


def guard(
    live: Snapshot,
    data: Mapping[str, str],
    after: Listing,
    caller: Caller,
    overrides: Collection[str],
) -> None:
    """Raise RefusedError where a guard that is not overridden stands against `data`."""
    size = access_guards.too_large(data)
    before = state(live.data, {})
    other: Kind = "user" if after.kind == "role" else "role"
    refusals = access_guards.refusals(
        before, state(data, {after.kind: after, other: before.of(other)}), caller
    )
    standing = [r for r in (*refusals, *([size] if size else [])) if r.guard not in overrides]
    if standing:
        raise refused(standing)


def refused(refusals: list[Refusal]) -> RefusedError:
    """Return the error for these refusals, with the ways to override their guards."""
    guards: list[Guard] = [refusal.guard for refusal in refusals]
    reasons = "; ".join(refusal.reason for refusal in refusals)
    return RefusedError(
        f"{WHERE} is left as it is: {reasons}. To allow this, name the guards: "
        f"{OVERRIDE_SETTING}: [{', '.join(guards)}] in the configuration for `pulumi up`, "
        f"{OVERRIDE_VARIABLE}={','.join(guards)} in the environment for `pulumi destroy`"
    )
