"""Requests that add an entry of this program to aws-auth, or remove it; this module sends nothing.

One write reads the copy and the map, decides, validates the write by a dry run, saves the copy,
writes the map with the `resourceVersion` that was read, and reads again. The caller of `carry_out`
returns the answers, so that the same code runs against the API server and in the tests' model of
concurrent writers.

The program owns two things besides its entries. An annotation on the map lists the entries. One
write carries both, so that a crash leaves no doubt about the owner of an entry. A second ConfigMap
holds the values of the map from before the first entry. The copy is read before the map and written
with its own version, so that the first write that succeeds has saved exactly the text that it
replaced.
"""

from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from castai_stack.access import text as access_text
from castai_stack.access.entries import (
    KEYS,
    NAME,
    NAMESPACE,
    WHERE,
    AwsAuthError,
    Entry,
    Item,
    Listing,
)
from castai_stack.access.guarding import guard, readable, state
from castai_stack.access.guards import Caller
from castai_stack.access.map_copy import confirm_copy, save_copy
from castai_stack.access.protocol import (
    COPY,
    ENTRIES_ANNOTATION,
    AskCaller,
    ConflictError,
    Create,
    Decision,
    Delete,
    EnsureEntry,
    Order,
    Outcome,
    OwnedEntries,
    Patch,
    Read,
    RefusedError,
    RemoveEntry,
    Request,
    Send,
    Snapshot,
    Snapshots,
    Wait,
    owned_entries,
)
from castai_stack.access.reader import parse

ATTEMPTS = 30


_LONGEST_SPELLING = 1024


def carry_out(
    order: Order, overrides: Collection[str], attempts: int = ATTEMPTS
) -> Generator[Request, Any, Outcome]:
    """Read, decide and write until nothing is left to do. Yields the requests."""
    caller: Caller | None = None
    warnings: dict[str, None] = {}
    base: Snapshot | None = None
    copy_written = False
    live: Snapshot | None = None
    for attempt in range(attempts):
        if attempt:
            yield Wait(attempt)
        copy = yield Read(COPY)
        live = yield Read(NAME)
        caller = caller or (yield AskCaller())
        try:
            decision = decide(Snapshots(copy, live), order, caller, overrides, base)
        except AwsAuthError:
            if copy_written and copy is not None and not owned_entries(live).entries:
                yield Send(Delete(COPY, copy.version))
            raise
        warnings.update(dict.fromkeys(decision.warnings))
        if not decision.steps:
            return Outcome(live, tuple(warnings))
        written = yield from _send(decision)
        copy_written = copy_written or COPY in written
        base = live if NAME in written else base
    writer = live.last_writer if live and live.last_writer else "unknown"
    raise ConflictError(
        f"{WHERE}: other writers changed it during each of {attempts} attempts, the last of them "
        f"{writer}; the program's entry may be absent. Find out what keeps writing, then run this "
        "again"
    )


def _send(decision: Decision) -> Generator[Request, Any, list[str]]:
    """Validate the steps on the map, then carry all out; returns the names that were written."""
    for step in decision.steps:
        if step.name == NAME and not (yield Send(step, dry=True)):
            return []
    written = []
    for step in decision.steps:
        if not (yield Send(step)):
            break
        written.append(step.name)
    return written


def decide(
    snapshots: Snapshots,
    order: Order,
    caller: Caller,
    overrides: Collection[str] = (),
    base: Snapshot | None = None,
) -> Decision:
    """Return the steps of one write; none when the map is as ordered.

    `base` is the map from before our own latest write, from which a lost copy is saved again.

    Raises RefusedError where a guard refuses, and AwsAuthError for a text that cannot be edited.
    """
    if isinstance(order, EnsureEntry):
        return _ensure_entry(snapshots, order, caller, overrides, base)
    return _remove_entry(snapshots, order, caller, overrides)


def obstacles(
    snapshots: Snapshots,
    entries: Iterable[Entry],
    caller: Caller,
    overrides: Collection[str],
    *,
    adopt: bool,
) -> list[str]:
    """Return the reasons for which the map would refuse these entries now, each once.

    The copy exists since the program's first entry. Without it an entry that the annotation does
    not list belongs to another writer.
    """
    reasons: dict[str, None] = {}
    for entry in entries:
        order = EnsureEntry(entry, adopt=adopt or snapshots.copy is not None)
        try:
            decide(snapshots, order, caller, overrides)
        except AwsAuthError as error:
            reasons[str(error)] = None
    return list(reasons)


def _ensure_entry(
    snapshots: Snapshots,
    order: EnsureEntry,
    caller: Caller,
    overrides: Collection[str],
    base: Snapshot | None,
) -> Decision:
    entry, live = order.entry, snapshots.live
    if live is None:
        return _new_map(entry, lost=snapshots.copy is not None)
    owned = owned_entries(live)
    before, warnings = readable(live, entry.kind, overrides, _SET_ASIDE)
    if base is None and not order.adopt and not _is_ours(order, owned):
        _refuse_foreign(before, entry)
    after = _with_entry(before, order)
    warnings += _shadow(live, entry)
    annotated = _annotated(live, before, order, owned)
    if after.text == live.data.get(entry.key) and annotated.entries == owned.entries:
        return Decision(confirm_copy(snapshots, base), warnings)
    guard(live, {**live.data, entry.key: after.text}, after, caller, overrides)
    patch = _patch(live, {entry.key: after.text}, annotated)
    first = not owned.entries and (
        snapshots.copy is None or (base is None and order.previous is None)
    )
    return Decision((*(save_copy(snapshots.copy, live) if first else ()), patch), warnings)


def _new_map(entry: Entry, *, lost: bool) -> Decision:
    text = access_text.merged(parse(entry.kind, None), entry).text
    owned = OwnedEntries((entry.identity,), created_map=True, spellings={entry.key: None})
    annotations = {ENTRIES_ANNOTATION: owned.as_annotation()}
    create = Create(NAME, {entry.key: text}, annotations)
    return Decision((create,), (_LOST_MAP,) if lost else ())


def _is_ours(order: EnsureEntry, owned: OwnedEntries) -> bool:
    """Return True if an entry for this ARN belongs to the program, by annotation or state."""
    same_arn = order.previous is not None and order.moved_from is None
    return same_arn or order.entry.identity in owned.entries


def _refuse_foreign(before: Listing, entry: Entry) -> None:
    items = before.of(entry.arn)
    if not items:
        return
    username, groups = items[-1].identity
    raise RefusedError(
        f"{WHERE}: {entry.key} already maps {entry.arn} (to {username!r}, groups {list(groups)}), "
        "and this program did not write that; set access.adopt to take it over, which also removes "
        "it on destroy, or remove that entry first"
    )


def _with_entry(before: Listing, order: EnsureEntry) -> Listing:
    moved = order.moved_from
    if moved is not None and moved.kind == order.entry.kind:
        before = access_text.proved(access_text.removed(before, moved.arn))
    return access_text.proved(access_text.merged(before, order.entry))


def _annotated(
    live: Snapshot, before: Listing, order: EnsureEntry, owned: OwnedEntries
) -> OwnedEntries:
    """Return the annotation after the write, with the original text of a list without entries."""
    key = order.entry.key
    spellings = dict(owned.spellings)
    original = live.data.get(key)
    if not before.items and key not in spellings and len(original or "") <= _LONGEST_SPELLING:
        spellings[key] = original
    left = owned.without(order.moved_from) if order.moved_from else owned
    entries = tuple(sorted({*left.entries, order.entry.identity}))
    return replace(owned, entries=entries, spellings=spellings)


def _shadow(live: Snapshot, entry: Entry) -> tuple[str, ...]:
    """Return a warning if mapRoles maps the user as well, where the authenticator looks first.

    Source: kubernetes-sigs/aws-iam-authenticator, pkg/mapper/configmap/mapper.go (Map)
    """
    if entry.kind == "user" and entry.arn.lower() in state(live.data, {}).roles.grants:
        return (_SHADOWED.format(arn=entry.arn),)
    return ()


def _remove_entry(
    snapshots: Snapshots, order: RemoveEntry, caller: Caller, overrides: Collection[str]
) -> Decision:
    entry, live = order.entry, snapshots.live
    if live is None:
        return Decision(warnings=(_LOST_MAP,) if snapshots.copy else ())
    owned = owned_entries(live)
    left = owned.without(entry)
    copy = None if left.entries else snapshots.copy
    drop_copy = (Delete(COPY, copy.version),) if copy else ()
    before, warnings = readable(live, entry.kind, overrides, _LEFT_ALONE)
    items = before.of(entry.arn)
    if not items:
        unlist = (_patch(live, {}, left),) if left.entries != owned.entries else ()
        return Decision((*unlist, *drop_copy), warnings)
    if not (len(items) == 1 and entry.is_met_by(items[0])):
        warnings += (_EDITED.format(arn=entry.arn, count=len(items)),)
    after = access_text.proved(access_text.removed(before, entry.arn))
    text = _original_spelling(entry.key, after, owned)
    data = {**live.data, entry.key: text or ""}
    if _is_empty_map_of_ours(live, owned, left, after):
        # The program created this map, so no other mapping ends with it.
        guard(live, data, after, caller, {*overrides, "last-masters"})
        return Decision((Delete(NAME, live.version), *drop_copy), warnings)
    guard(live, data, after, caller, overrides)
    return Decision((_patch(live, {entry.key: text}, left), *drop_copy), warnings)


def _is_empty_map_of_ours(
    live: Snapshot, owned: OwnedEntries, left: OwnedEntries, after: Listing
) -> bool:
    others = live.binary or any(key != KEYS[after.kind] for key in live.data)
    return owned.created_map and not left.entries and not after.items and not others


def _original_spelling(key: str, after: Listing, owned: OwnedEntries) -> str | None:
    """Return the list's text after a removal; an empty list gets back its original text."""
    if after.items or key not in owned.spellings:
        return after.text
    spelling = owned.spellings[key]
    bare = after.text.strip()
    if bare in {"", "[]"} or bare == (spelling or "").strip():
        return spelling
    return after.text


_LOST_MAP = (
    f"{WHERE} is gone although entries of this program were in it: another writer deleted it with "
    "every mapping; `python -m castai_stack aws-auth restore` writes back the values from before "
    "the program's first entry"
)


_EDITED = (
    WHERE + ": the program's entry for {arn} was edited by hand ({count} items); "
    "it is removed, and nothing else is"
)


_SET_ASIDE = (
    "{error}; the authenticator reads nothing of this list, so the program's entry replaces it, "
    f"and its text is saved in {NAMESPACE}/{COPY}"
)


_LEFT_ALONE = "{error}; the list stays as it is, and so does an entry of the program in it"


_SHADOWED = (
    f"{WHERE}: mapRoles maps {{arn}}, and the authenticator reads mapRoles first: the program's "
    "entry in mapUsers has no effect until that one is removed"
)


def live_entries(live: Snapshot | None, entry: Entry) -> list[dict[str, Any]] | None:
    """Return the map's items for the entry's ARN, None without any.

    An item with the effect of the entry is returned as the entry, so that its spelling is no drift.
    """
    try:
        listing = parse(entry.kind, (live.data if live else {}).get(entry.key))
        items = listing.of(entry.arn)
        return [entry.as_item() if entry.is_met_by(i) else _displayed(i) for i in items] or None
    except AwsAuthError as error:
        return [{"unreadable": str(error)}]


def moved_entry(live: Snapshot | None, entry: Entry) -> Entry | None:
    """Return the program's entry that grants the same to another ARN, if there is exactly one.

    A run that was killed while it moved an entry leaves the ARN from before in the state.
    """
    if live is None:
        return None
    owned = owned_entries(live).entries
    try:
        items = parse(entry.kind, live.data.get(entry.key)).items
    except AwsAuthError:
        return None
    same = (entry.username, tuple(sorted(entry.groups)))
    grants = [item.grant for item in items if item.grant and item.grant.identity == same]
    others = [replace(entry, arn=grant.arn) for grant in grants if not grant.sso]
    ours = [one for one in others if one.identity != entry.identity and one.identity in owned]
    return ours[0] if len(ours) == 1 else None


def _displayed(item: Item) -> dict[str, Any]:
    return {str(key): _plain(value) for key, value in item.folded.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value[1] if isinstance(value, tuple) else value


def _patch(live: Snapshot, data: Mapping[str, str | None], owned: OwnedEntries) -> Patch:
    return Patch(NAME, live.version, data, {ENTRIES_ANNOTATION: owned.as_annotation()})
