"""What to ask of the API server so that our entry is in aws-auth, or out of it; sends nothing.

A write is: read the copy, read the map, decide, try it without effect, keep the copy, write the map
with the `resourceVersion` that was read, and look again. Whoever carries this out hands the answers
back; the model of other writers and the real API server are driven by the same code.

Two things are ours besides the entries. An annotation on the map lists them, written together with
them, so that after a crash nobody has to guess whose an entry is. A second ConfigMap keeps the
map's values as they were before our first entry. The copy is read before the map and written with
its own version; therefore the first write that succeeds has kept exactly the text that it replaced.
"""

from collections.abc import Collection, Generator, Mapping
from dataclasses import replace
from typing import Any, Literal

from castai_stack.access import entries as access_entries
from castai_stack.access import guards as access_guards
from castai_stack.access import text as access_text
from castai_stack.access.entries import (
    KEYS,
    NAME,
    WHERE,
    Entry,
    Item,
    Kind,
    Listing,
    UnreadableError,
)
from castai_stack.access.guards import Caller, Guard, Refusal, State
from castai_stack.access.protocol import (
    COPY,
    KEPT,
    MARK,
    OVERRIDE_SETTING,
    OVERRIDE_VARIABLE,
    SOURCE,
    AskCaller,
    ConflictError,
    Create,
    Decision,
    Delete,
    Mark,
    Object,
    Order,
    Outcome,
    Patch,
    Put,
    Read,
    RefusedError,
    Remove,
    Request,
    Seen,
    Send,
    Step,
    Wait,
    mark_of,
)

ATTEMPTS = 30

_LONGEST_SPELLING = 1024


def carry_out(
    order: Order, overrides: Collection[str], attempts: int = ATTEMPTS
) -> Generator[Request, Any, Outcome]:
    """Read, decide and write until there is nothing left to do; yields what it needs done."""
    caller: Caller | None = None
    warnings: dict[str, None] = {}
    base: Object | None = None
    kept = False
    live: Object | None = None
    for attempt in range(attempts):
        if attempt:
            yield Wait(attempt)
        copy = yield Read(COPY)
        live = yield Read(NAME)
        caller = caller or (yield AskCaller())
        try:
            decision = decide(Seen(copy, live), order, caller, overrides, base)
        except RefusedError:
            if kept and copy is not None and not mark_of(live).entries:
                yield Send(Delete(COPY, copy.version))
            raise
        warnings.update(dict.fromkeys(decision.warnings))
        if not decision.steps:
            return Outcome(live, tuple(warnings))
        done = yield from _sent(decision)
        kept = kept or COPY in done
        base = live if NAME in done else base
    writer = live.last_writer if live and live.last_writer else "unknown"
    raise ConflictError(
        f"{WHERE}: others wrote to it during each of our {attempts} attempts, the last of them "
        f"{writer}; our entry is not settled. Find out what keeps writing, then run this again"
    )


def _sent(decision: Decision) -> Generator[Request, Any, list[str]]:
    """Try the steps on the map, then carry all out; returns the names that were written."""
    for step in decision.steps:
        if step.name == NAME and not (yield Send(step, dry=True)):
            return []
    done = []
    for step in decision.steps:
        if not (yield Send(step)):
            break
        done.append(step.name)
    return done


def decide(
    seen: Seen,
    order: Order,
    caller: Caller,
    overrides: Collection[str] = (),
    base: Object | None = None,
) -> Decision:
    """Say what has to be sent; nothing when all is as wanted.

    `base` is the map from before our own latest write, from which a lost copy is kept again.
    """
    if isinstance(order, Put):
        return _put(seen, order, caller, overrides, base)
    return _remove(seen, order, caller, overrides)


def live_entries(live: Object | None, entry: Entry) -> list[dict[str, Any]] | None:
    """Return what the map holds for our ARN, or None when there is nothing.

    An entry that says what is wanted is spelled as wanted, so that spelling is never drift.
    """
    try:
        listing = access_text.parse(entry.kind, (live.data if live else {}).get(entry.key))
    except UnreadableError as error:
        return [{"unreadable": str(error)}]
    mine = listing.of(entry.arn)
    if not mine:
        return None
    return [entry.as_item() if entry.is_met_by(item) else _shown(item) for item in mine]


def _shown(item: Item) -> dict[str, Any]:
    return {str(key): _plain(value) for key, value in item.folded.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value[1] if isinstance(value, tuple) else value


def _put(
    seen: Seen, order: Put, caller: Caller, overrides: Collection[str], base: Object | None
) -> Decision:
    entry, live = order.entry, seen.live
    if live is None:
        warnings = (_LOST_MAP,) if seen.copy else ()
        text = access_text.merged(access_text.parse(entry.kind, None), entry).text
        mark = Mark((entry.identity,), made=True, spellings={entry.key: None})
        return Decision((Create(NAME, {entry.key: text}, {MARK: mark.as_text()}),), warnings)
    mark = mark_of(live)
    moved = order.was is not None and order.was.identity != entry.identity
    before, warnings = _readable(live, entry.kind, overrides)
    known = entry.identity in mark.entries or (order.was is not None and not moved)
    if (found := before.of(entry.arn)) and not known and not order.adopt and base is None:
        raise RefusedError(_taken(entry, found[-1]))
    lenient = "unreadable" in overrides
    after = before
    if moved and order.was is not None and order.was.kind == entry.kind:
        after = access_text.proved(access_text.removed(after, order.was.arn), lenient=lenient)
    after = access_text.proved(access_text.merged(after, entry), lenient=lenient)
    gone = {order.was.identity} if moved and order.was else set()
    spellings = dict(mark.spellings)
    if not before.items and entry.key not in spellings:
        was_text = live.data.get(entry.key)
        if len(was_text or "") <= _LONGEST_SPELLING:
            spellings[entry.key] = was_text
    entries = tuple(sorted({*mark.entries, entry.identity} - gone))
    marked = replace(mark, entries=entries, spellings=spellings)
    if after.text == live.data.get(entry.key) and marked.entries == mark.entries:
        return Decision(_kept_for_good(seen, base), warnings)
    _guard(live, {**live.data, entry.key: after.text}, after, caller, overrides)
    patch = Patch(NAME, live.version, {entry.key: after.text}, {MARK: marked.as_text()})
    first = not mark.entries and (seen.copy is None or (base is None and order.was is None))
    return Decision((*(_keep(seen.copy, live) if first else ()), patch), warnings)


def _remove(seen: Seen, order: Remove, caller: Caller, overrides: Collection[str]) -> Decision:
    entry, live = order.entry, seen.live
    if live is None:
        return Decision(warnings=(_LOST_MAP,) if seen.copy else ())
    mark = mark_of(live)
    left = replace(mark, entries=tuple(e for e in mark.entries if e != entry.identity))
    forget = (Delete(COPY, seen.copy.version),) if seen.copy and not left.entries else ()
    before, warnings = _readable(live, entry.kind, overrides, remove=True)
    mine = before.of(entry.arn)
    if not mine and left.entries == mark.entries:
        return Decision(forget, warnings)
    if mine and not (len(mine) == 1 and entry.is_met_by(mine[0])):
        warnings += (_EDITED.format(arn=entry.arn, count=len(mine)),)
    if not mine:
        patch = Patch(NAME, live.version, {}, {MARK: left.as_text()})
        return Decision((patch, *forget), warnings)
    change = access_text.removed(before, entry.arn)
    after = access_text.proved(change, lenient="unreadable" in overrides)
    text = _spelled(entry.key, after, mark)
    others = live.binary or any(key != entry.key for key in live.data)
    undone = mark.made and not left.entries and not after.items and not others
    # A map that we made mapped nobody before us, so nobody loses what they had.
    passed = {*overrides, "last-masters"} if undone else overrides
    _guard(live, {**live.data, entry.key: text or ""}, after, caller, passed)
    if undone:
        return Decision((Delete(NAME, live.version), *forget), warnings)
    patch = Patch(NAME, live.version, {entry.key: text}, {MARK: left.as_text()})
    return Decision((patch, *forget), warnings)


_LOST_MAP = (
    f"{WHERE} is gone although entries of this program were in it: somebody deleted it with "
    "everything that was mapped; `python -m castai_stack aws-auth restore` puts back the values "
    "kept before our first entry"
)
_EDITED = (
    WHERE + ": our entry for {arn} was edited by hand ({count} found); "
    "it is removed all the same, and nothing else"
)
_SET_ASIDE = (
    "{error}; the authenticator reads nothing of it either, so it is replaced by our entry and "
    f"kept in {access_entries.NAMESPACE}/{COPY}"
)
_LEFT_ALONE = "{error}; it is left as it is, and an entry of ours in it is no longer looked after"


def _taken(entry: Entry, found: Item) -> str:
    username, groups = found.effect
    return (
        f"{WHERE}: {entry.key} already maps {entry.arn} (to {username!r}, groups {list(groups)}), "
        "and this program did not write that; set access.adopt to take it over, which also removes "
        "it on destroy, or remove that entry first"
    )


def _readable(
    live: Object, kind: Kind, overrides: Collection[str], *, remove: bool = False
) -> tuple[Listing, tuple[str, ...]]:
    """Parse the list that is edited; an unreadable one stops us, or is set aside on demand."""
    text = live.data.get(KEYS[kind])
    lenient = "unreadable" in overrides
    try:
        return access_text.parse(kind, text, lenient=lenient), ()
    except UnreadableError as error:
        if not lenient:
            raise RefusedError(_refused([Refusal("unreadable", str(error))])) from None
        said = _LEFT_ALONE if remove else _SET_ASIDE
        return access_text.parse(kind, None), (said.format(error=error),)


def _state(data: Mapping[str, str], known: Mapping[Kind, Listing]) -> State:
    """Both lists; one that cannot be read maps nobody, as the authenticator sees it."""

    def listing(kind: Kind) -> Listing:
        if kind in known:
            return known[kind]
        try:
            return access_text.parse(kind, data.get(KEYS[kind]), lenient=True)
        except UnreadableError:
            return access_text.parse(kind, None)

    return State(listing("role"), listing("user"))


def _guard(
    live: Object,
    data: Mapping[str, str],
    after: Listing,
    caller: Caller,
    overrides: Collection[str],
) -> None:
    known: dict[Kind, Listing] = {after.kind: after}
    found = access_guards.refusals(_state(live.data, {}), _state(data, known), caller)
    size = access_guards.too_large(data)
    standing = [r for r in (*found, *([size] if size else [])) if r.guard not in overrides]
    if standing:
        raise RefusedError(_refused(standing))


def _refused(standing: list[Refusal]) -> str:
    guards: list[Guard] = [refusal.guard for refusal in standing]
    reasons = "; ".join(refusal.reason for refusal in standing)
    return (
        f"{WHERE} is left as it is: {reasons}. If this is meant, allow it: "
        f"{OVERRIDE_SETTING}: [{', '.join(guards)}] in the configuration for `pulumi up`, "
        f"{OVERRIDE_VARIABLE}={','.join(guards)} in the environment for `pulumi destroy`"
    )


def _spelled(key: str, after: Listing, mark: Mark) -> str | None:
    """Text of a list that lost our entry: without entries, as it was spelled before us."""
    if after.items or key not in mark.spellings:
        return after.text
    spelling = mark.spellings[key]
    bare = after.text.strip()
    if bare in {"", "[]"} or bare == (spelling or "").strip():
        return spelling
    return after.text


def _keep(copy: Object | None, live: Object) -> tuple[Step, ...]:
    if copy is None:
        return (Create(COPY, live.data, {SOURCE: live.version}),)
    if copy.annotations.get(SOURCE) == live.version:
        return ()
    data: dict[str, str | None] = dict.fromkeys(copy.data)
    annotations = {SOURCE: live.version, KEPT: None}
    return (Patch(COPY, copy.version, data | dict(live.data), annotations),)


def _kept_for_good(seen: Seen, base: Object | None) -> tuple[Step, ...]:
    """Mark the copy as the one of entries that are there, or keep a lost one again."""
    if seen.copy is not None:
        if KEPT in seen.copy.annotations:
            return ()
        return (Patch(COPY, seen.copy.version, {}, {KEPT: "true"}),)
    if base is None or mark_of(base).entries:
        return ()
    return (Create(COPY, base.data, {SOURCE: base.version, KEPT: "true"}),)


CopyState = Literal["none", "kept", "left over"]


def copy_state(seen: Seen) -> CopyState:
    """Tell whether there is a copy, and whether it belongs to entries that are there."""
    if seen.copy is None:
        return "none"
    return "kept" if mark_of(seen.live).entries or seen.live is None else "left over"


def restored(seen: Seen, caller: Caller, overrides: Collection[str] = ()) -> Decision:
    """Say what puts the kept values back in place of everything that the map holds now."""
    copy, live = seen
    if copy is None:
        raise RefusedError(
            f"there is no copy to restore ({access_entries.NAMESPACE}/{COPY}): it is kept while "
            "entries of this program are in the map, and goes with the last of them"
        )
    if live is None:
        return Decision((Create(NAME, copy.data, {}), Delete(COPY, copy.version)))
    found = access_guards.refusals(_state(live.data, {}), _state(copy.data, {}), caller)
    standing = [refusal for refusal in found if refusal.guard not in overrides]
    if standing:
        raise RefusedError(_refused(standing))
    dropped: dict[str, str | None] = dict.fromkeys(live.data)
    patch = Patch(NAME, live.version, dropped | dict(copy.data), {MARK: None})
    return Decision((patch, Delete(COPY, copy.version)))
