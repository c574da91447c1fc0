"""The copy of the map from before the program's first entry."""

from collections.abc import Collection
from typing import Literal

from castai_stack.access import guards as access_guards
from castai_stack.access.entries import NAME, NAMESPACE
from castai_stack.access.guarding import refused, state
from castai_stack.access.guards import Caller
from castai_stack.access.protocol import (
    CONFIRMED_ANNOTATION,
    COPY,
    ENTRIES_ANNOTATION,
    SOURCE_ANNOTATION,
    Create,
    Decision,
    Delete,
    Patch,
    RefusedError,
    Snapshot,
    Snapshots,
    Step,
    owned_entries,
)

CopyState = Literal["none", "kept", "left over"]


def save_copy(copy: Snapshot | None, live: Snapshot) -> tuple[Step, ...]:
    """Return the step that saves the map as it is; none if the copy has its version."""
    if copy is None:
        return (Create(COPY, live.data, {SOURCE_ANNOTATION: live.version}),)
    if copy.annotations.get(SOURCE_ANNOTATION) == live.version:
        return ()
    data: dict[str, str | None] = dict.fromkeys(copy.data)
    annotations = {SOURCE_ANNOTATION: live.version, CONFIRMED_ANNOTATION: None}
    return (Patch(COPY, copy.version, data | dict(live.data), annotations),)


def confirm_copy(snapshots: Snapshots, base: Snapshot | None) -> tuple[Step, ...]:
    """Annotate the copy as the one of entries that exist, or save a lost one again."""
    if snapshots.copy is not None:
        if CONFIRMED_ANNOTATION in snapshots.copy.annotations:
            return ()
        return (Patch(COPY, snapshots.copy.version, {}, {CONFIRMED_ANNOTATION: "true"}),)
    if base is None or owned_entries(base).entries:
        return ()
    annotations = {SOURCE_ANNOTATION: base.version, CONFIRMED_ANNOTATION: "true"}
    return (Create(COPY, base.data, annotations),)


def copy_state(snapshots: Snapshots) -> CopyState:
    """Return whether there is a copy, and whether it belongs to entries that exist."""
    if snapshots.copy is None:
        return "none"
    in_use = owned_entries(snapshots.live).entries or snapshots.live is None
    return "kept" if in_use else "left over"


def restored(snapshots: Snapshots, caller: Caller, overrides: Collection[str] = ()) -> Decision:
    """Return the steps that write the copy over everything that the map holds now.

    Raises RefusedError without a copy, and where a guard refuses.
    """
    copy, live = snapshots
    if copy is None:
        raise RefusedError(
            f"there is no copy to restore ({NAMESPACE}/{COPY}): it exists while entries of this "
            "program are in the map, and goes with the last of them"
        )
    if live is None:
        return Decision((Create(NAME, copy.data, {}), Delete(COPY, copy.version)))
    refusals = access_guards.refusals(state(live.data, {}), state(copy.data, {}), caller)
    standing = [refusal for refusal in refusals if refusal.guard not in overrides]
    if standing:
        raise refused(standing)
    dropped: dict[str, str | None] = dict.fromkeys(live.data)
    patch = Patch(NAME, live.version, dropped | dict(copy.data), {ENTRIES_ANNOTATION: None})
    return Decision((patch, Delete(COPY, copy.version)))
