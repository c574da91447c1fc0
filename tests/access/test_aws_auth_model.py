"""A model of everybody who writes aws-auth at once; ours is driven by the code that ships.

Every order in which the single requests can reach the API server is walked through, crashes included.
States that are the same are walked through once, and the orders that lead through them are counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from castai_stack.access import entries as access_entries
from castai_stack.access import steps
from castai_stack.access import text as access_text
from castai_stack.access.entries import MASTERS, NAME, NODE_GROUPS, NODE_USERNAME
from castai_stack.access.guards import Caller
from castai_stack.access.protocol import (
    COPY,
    SOURCE_ANNOTATION,
    AskCaller,
    Create,
    Delete,
    EnsureEntry,
    Order,
    Patch,
    Read,
    RemoveEntry,
    Send,
    Snapshot,
    Wait,
    owned_entries,
)
from castai_stack.access.reader import parse
from castai_stack.access.steps import carry_out, decide

ACCOUNT = "012345678901"
NODES = access_entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-nodes", NODE_USERNAME, NODE_GROUPS)
OTHER = access_entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-spot", "spot", ["spot"])
THEIRS = f"# platform\n- rolearn: arn:aws:iam::{ACCOUNT}:role/admin\n  groups: [{MASTERS}]\n"
CALLER = Caller(f"arn:aws:iam::{ACCOUNT}:role/admin")


# --- the API server ---------------------------------------------------------------------------------

_OBJECTS: dict[tuple, Snapshot] = {}


def interned(version, data, annotations) -> Snapshot:
    """One object per content, so that states compare by identity."""
    key = (version, tuple(sorted(data.items())), tuple(sorted(annotations.items())))
    return _OBJECTS.setdefault(key, Snapshot(version, data, annotations))


@dataclass(frozen=True)
class Store:
    """What the API server holds; a version is never used twice."""

    objects: tuple[tuple[str, Snapshot], ...] = ()
    writes: int = 0
    base: Snapshot | None = None
    """The map from before the write that first put something of ours in."""

    def get(self, name) -> Snapshot | None:
        return dict(self.objects).get(name)

    def set(self, name, data, annotations) -> "Store":
        made = interned(str(self.writes + 1), data, annotations)
        rest = {**dict(self.objects), name: made}
        base = self.base
        if (
            name == NAME
            and owned_entries(made).entries
            and not owned_entries(self.get(NAME)).entries
        ):
            base = self.get(NAME)
        return Store(tuple(sorted(rest.items())), self.writes + 1, base)

    def drop(self, name) -> "Store":
        rest = {n: o for n, o in self.objects if n != name}
        return Store(tuple(sorted(rest.items())), self.writes + 1, self.base)

    def key(self):
        ids = tuple((name, id(found)) for name, found in self.objects)
        return (ids, self.writes, id(self.base))


def carried(store: Store, step) -> tuple[Store, bool]:
    """Carry out a step as the API server does: the version decides."""
    found = store.get(step.name)
    if isinstance(step, Create):
        if found is not None:
            return store, False
        annotations = {k: v for k, v in step.annotations.items() if v is not None}
        return store.set(step.name, dict(step.data), annotations), True
    if found is None or found.version != step.version:
        return store, False
    if isinstance(step, Delete):
        return store.drop(step.name), True
    assert isinstance(step, Patch)
    data = {k: v for k, v in {**found.data, **step.data}.items() if v is not None}
    annotations = {
        k: v for k, v in {**found.annotations, **step.annotations}.items() if v is not None
    }
    return store.set(step.name, data, annotations), True


# --- writers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """One of our writes: what it was told so far says where it stands."""

    order: Order
    told: tuple = ()
    done: bool = False

    def key(self):
        return (
            id(self.order),
            tuple(t if isinstance(t, bool) else id(t) for t in self.told),
            self.done,
        )


@dataclass(frozen=True)
class Other:
    """Somebody who reads the map and writes it back changed, by version, until it works."""

    name: str
    edit: Callable[[Snapshot | None, str], Snapshot | None] = field(compare=False)
    read: Snapshot | None = None
    has_read: bool = False
    done: bool = False

    def key(self):
        return (self.name, id(self.read), self.has_read, self.done)


def adds_an_entry(live: Snapshot | None, name: str) -> Snapshot:
    data = dict(live.data) if live else {}
    line = f"- {{rolearn: 'foreign-{name}', groups: [x]}} # by hand\n"
    data["mapRoles"] = data.get("mapRoles", "") + line
    return Snapshot("", data, live.annotations if live else {})


def drops_annotations(live: Snapshot | None, name: str) -> Snapshot:
    return replace(adds_an_entry(live, name), annotations={})


def another(name, edit=adds_an_entry):
    return Other(name, edit)


class World:
    """Walks through every order and checks every write and every end."""

    def __init__(self, check_end, *, crashes=0):
        self.check_end = check_end
        self.crashes = crashes
        self.known: dict[tuple, int] = {}
        self.requests: dict[tuple, tuple] = {}
        self.decisions: dict[tuple, object] = {}

    def decide(self, seen, order, caller, overrides=(), base=None):
        key = (id(seen.copy), id(seen.live), id(order), id(base))
        if key not in self.decisions:
            self.decisions[key] = decide(seen, order, caller, overrides, base)
        return self.decisions[key]

    def pending(self, ours: Ours):
        """What our code asks next, after all that it was told; None when it has finished."""
        key = ours.key()
        if key not in self.requests:
            procedure = carry_out(ours.order, ())
            told = iter(ours.told)
            answer = None
            try:
                while True:
                    request = procedure.send(answer)
                    if isinstance(request, AskCaller):
                        answer = CALLER
                    elif isinstance(request, Wait):
                        answer = None
                    elif isinstance(request, Send) and request.dry:
                        answer = True  # the write itself meets the conflict then
                    else:
                        answer = next(told, self)
                        if answer is self:
                            break
            except StopIteration:
                request = None
            self.requests[key] = (request,)
        return self.requests[key][0]

    def orders(self, store: Store, writers: tuple, crashes: int) -> int:
        """Count the orders from here to the end; every one of them is checked."""
        key = (store.key(), tuple(w.key() for w in writers), crashes)
        if key in self.known:
            return self.known[key]
        found = 0
        for number, writer in enumerate(writers):
            for after, moved, crashed in self.moves(store, writer, crashes):
                others = (*writers[:number], moved, *writers[number + 1 :])
                found += self.orders(after, others, crashes - crashed)
        if not found:
            self.check_end(store, crashed=crashes < self.crashes)
            found = 1
        self.known[key] = found
        return found

    def moves(self, store, writer, crashes):
        if writer.done:
            return
        if isinstance(writer, Other):
            yield from self.other_moves(store, writer)
            return
        request = self.pending(writer)
        if request is None:
            yield store, replace(writer, done=True, told=()), False
            return
        again = Ours(writer.order)
        if isinstance(request, Read):
            answer = store.get(request.name)
            yield store, replace(writer, told=(*writer.told, answer)), False
            if crashes:
                yield store, again, True
            return
        after, done = carried(store, request.step)
        if done and request.step.name == NAME:
            check_write(store.get(NAME), after.get(NAME))
        yield after, replace(writer, told=(*writer.told, done)), False
        if crashes:
            yield store, again, True  # before the write
            yield after, again, True  # after the write, before the answer

    def other_moves(self, store, writer):
        if not writer.has_read:
            yield store, replace(writer, read=store.get(NAME), has_read=True), False
            return
        wanted = writer.edit(writer.read, writer.name)
        live = store.get(NAME)
        if live is not writer.read:
            yield store, replace(writer, read=None, has_read=False), False
        elif wanted is not None:
            after = store.set(NAME, dict(wanted.data), dict(wanted.annotations))
            yield after, replace(writer, done=True, read=None), False


def without_ours(live: Snapshot | None) -> str:
    text = (live.data if live else {}).get("mapRoles", "")
    for entry in (NODES, OTHER):
        text = access_text.proved(access_text.removed(parse("role", text), entry.arn)).text
    return text


def check_write(before, after):
    """Of what is not ours no write of ours changes a byte."""
    assert without_ours(before) == without_ours(after)


# --- what must be true in the end ---------------------------------------------------------------------


def mapped(store):
    live = store.get(NAME)
    return [item.arn for item in parse("role", live.data.get("mapRoles")).items]


def ends_with(*entries, others=(), copy_even_after_a_crash=True):
    def check(store, *, crashed):
        arns = mapped(store)
        for entry in (NODES, OTHER):
            assert arns.count(entry.arn) == (1 if entry in entries else 0), arns
        for name in others:
            assert arns.count(f"foreign-{name}") == 1, arns
        assert sorted(owned_entries(store.get(NAME)).entries) == sorted(e.identity for e in entries)
        copy = store.get(COPY)
        if not entries:
            assert copy is None, "the copy goes with the last entry"
        elif store.base is None:
            assert copy is None, "there was no map to keep"
        elif copy_even_after_a_crash or not crashed:
            assert copy is not None, "the copy stays while an entry does"
            assert copy.data == store.base.data, "the copy is what our first entry found"
            assert copy.annotations[SOURCE_ANNOTATION] == store.base.version

    return check


def starting(*entries, text=THEIRS):
    """A map with others' entries and, written by our own code, these of ours."""
    store = Store().set(NAME, {"mapRoles": text, "mapAccounts": "- '9'"}, {})
    for entry in entries:
        procedure = carry_out(EnsureEntry(entry), ())
        answer = None
        while True:
            try:
                request = procedure.send(answer)
            except StopIteration:
                break
            if isinstance(request, Read):
                answer = store.get(request.name)
            elif isinstance(request, Send):
                answer = True
                if not request.dry:
                    store, answer = carried(store, request.step)
            else:
                answer = CALLER
    return store


NOBODY = Store()
SCENARIOS = {
    "one of ours among two others": (
        starting(),
        (Ours(EnsureEntry(NODES)), another("a"), another("b")),
        ends_with(NODES, others="ab"),
        1,
    ),
    "two of ours and another": (
        starting(),
        (Ours(EnsureEntry(NODES)), Ours(EnsureEntry(OTHER)), another("a")),
        ends_with(NODES, OTHER, others="a"),
        0,
    ),
    "two of ours, one of which crashes": (
        starting(),
        (Ours(EnsureEntry(NODES)), Ours(EnsureEntry(OTHER))),
        ends_with(NODES, OTHER),
        1,
    ),
    "both of ours go beside another": (
        starting(NODES, OTHER),
        (Ours(RemoveEntry(NODES)), Ours(RemoveEntry(OTHER)), another("a")),
        ends_with(others="a"),
        1,
    ),
    "the last of ours goes while another of ours comes": (
        starting(OTHER),
        (Ours(EnsureEntry(NODES)), Ours(RemoveEntry(OTHER)), another("a")),
        ends_with(NODES, others="a", copy_even_after_a_crash=False),
        0,
    ),
    "there is no map and two of ours make it": (
        NOBODY,
        (Ours(EnsureEntry(NODES)), Ours(EnsureEntry(OTHER))),
        ends_with(NODES, OTHER),
        1,
    ),
    "there is no map, and another makes it": (
        NOBODY,
        (Ours(EnsureEntry(NODES)), another("a")),
        ends_with(NODES, others="a"),
        1,
    ),
}


@pytest.fixture
def walk(monkeypatch):
    def walked(name):
        store, writers, check, crashes = SCENARIOS[name]
        world = World(check, crashes=crashes)
        monkeypatch.setattr(steps, "decide", world.decide)
        return world, world.orders(store, writers, crashes)

    return walked


def test_no_order_of_requests_loses_an_entry_of_anybody(walk, capsys):
    total = 0
    for name in SCENARIOS:
        world, orders = walk(name)
        total += orders
        with capsys.disabled():
            print(f"\naws-auth model: {name}: {orders} orders, {len(world.known)} states")  # noqa: T201

    assert total >= 100_000
