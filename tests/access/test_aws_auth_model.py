"""No order of requests of concurrent writers loses an entry, crashes included."""

import functools

import pytest

from castai_stack.access import entries as access_entries
from castai_stack.access import steps
from castai_stack.access import text as access_text
from castai_stack.access.entries import MASTERS, NAME, NODE_GROUPS, NODE_USERNAME
from castai_stack.access.guards import Caller
from castai_stack.access.protocol import (
    COPY,
    SOURCE_ANNOTATION,
    EnsureEntry,
    Read,
    RemoveEntry,
    owned_entries,
)
from castai_stack.access.reader import parse
from castai_stack.access.steps import carry_out
from tests.support.aws_auth_model.store import Store
from tests.support.aws_auth_model.walk import NO_ANSWER, Walk, fixed_answer
from tests.support.aws_auth_model.writers import Program, Tool

ACCOUNT = "012345678901"
NODES = access_entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-nodes", NODE_USERNAME, NODE_GROUPS)
SPOT = access_entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-spot", "spot", ["spot"])
PLATFORM = f"# platform\n- rolearn: arn:aws:iam::{ACCOUNT}:role/admin\n  groups: [{MASTERS}]\n"
CALLER = Caller(f"arn:aws:iam::{ACCOUNT}:role/admin")


def foreign_text(live):
    """Text of mapRoles without the program's entries."""
    return without_entries((live.data if live else {}).get("mapRoles", ""))


@functools.cache  # orders of requests meet in the same texts
def without_entries(text):
    for entry in (NODES, SPOT):
        text = access_text.proved(access_text.removed(parse("role", text), entry.arn)).text
    return text


@functools.cache
def principals(text):
    return [item.arn for item in parse("role", text).items]


def check_write(before, after):
    assert foreign_text(before) == foreign_text(after), "a foreign byte changed"


def ends_with(*entries, tools="", copy_even_after_a_crash=True):
    """Return the check of an end: these entries, those of the tools, and a faithful copy."""

    def check(store, *, crashed):
        live = store.get(NAME)
        arns = principals(live.data.get("mapRoles"))
        for entry in (NODES, SPOT):
            assert arns.count(entry.arn) == (1 if entry in entries else 0), arns
        for tool in tools:
            assert arns.count(f"foreign-{tool}") == 1, arns
        assert sorted(owned_entries(live).entries) == sorted(entry.identity for entry in entries)
        check_copy(store, entries, required=copy_even_after_a_crash or not crashed)

    return check


def check_copy(store, entries, *, required):
    copy = store.get(COPY)
    if not entries:
        assert copy is None, "the copy is deleted with the last entry"
    elif store.base is None:
        assert copy is None, "there was no map to copy"
    elif required:
        assert copy is not None, "the copy stays while an entry does"
        assert copy.data == store.base.data, "the copy is the map before the first entry"
        assert copy.annotations[SOURCE_ANNOTATION] == store.base.version


def starting(*entries):
    """Return a map with foreign entries, and with these entries of the program."""
    store = Store().set(NAME, {"mapRoles": PLATFORM, "mapAccounts": "- '9'"}, {})
    for entry in entries:
        store = run_alone(store, EnsureEntry(entry))
    return store


def run_alone(store, order):
    procedure = carry_out(order, ())
    answer = None
    while True:
        try:
            request = procedure.send(answer)
        except StopIteration:
            return store
        answer = fixed_answer(request, CALLER)
        if answer is NO_ANSWER and isinstance(request, Read):
            answer = store.get(request.name)
        elif answer is NO_ANSWER:
            store, answer = store.apply(request.step)


SCENARIOS = {
    "one entry beside two tools": (
        starting(),
        (Program(EnsureEntry(NODES)), Tool("a"), Tool("b")),
        ends_with(NODES, tools="ab"),
        1,
    ),
    "two entries beside a tool": (
        starting(),
        (Program(EnsureEntry(NODES)), Program(EnsureEntry(SPOT)), Tool("a")),
        ends_with(NODES, SPOT, tools="a"),
        0,
    ),
    "two entries, with a crash": (
        starting(),
        (Program(EnsureEntry(NODES)), Program(EnsureEntry(SPOT))),
        ends_with(NODES, SPOT),
        1,
    ),
    "two removals beside a tool": (
        starting(NODES, SPOT),
        (Program(RemoveEntry(NODES)), Program(RemoveEntry(SPOT)), Tool("a")),
        ends_with(tools="a"),
        1,
    ),
    "removal of the last entry beside a new first one": (
        starting(SPOT),
        (Program(EnsureEntry(NODES)), Program(RemoveEntry(SPOT)), Tool("a")),
        ends_with(NODES, tools="a", copy_even_after_a_crash=False),
        0,
    ),
    "two entries without a map": (
        Store(),
        (Program(EnsureEntry(NODES)), Program(EnsureEntry(SPOT))),
        ends_with(NODES, SPOT),
        1,
    ),
    "an entry without a map, which a tool creates": (
        Store(),
        (Program(EnsureEntry(NODES)), Tool("a")),
        ends_with(NODES, tools="a"),
        1,
    ),
}


def test_no_order_of_requests_loses_an_entry(monkeypatch, capsys):
    total = 0
    for name, (store, writers, check_end, crashes) in SCENARIOS.items():
        walk = Walk(CALLER, check_write, check_end, crashes=crashes)
        with monkeypatch.context() as patch:
            patch.setattr(steps, "decide", walk.decide)
            orders = walk.orders(store, writers, crashes)
        total += orders
        with capsys.disabled():
            print(f"\naws-auth model: {name}: {orders} orders, {len(walk.states)} states")  # noqa: T201

    assert total >= 100_000


@pytest.mark.parametrize("step", ["conflict", "lost entry"])
def test_the_model_fails_when_the_program_would(monkeypatch, step):
    """Without the version in a write, or with a patch of foreign text, a check fails."""
    store, writers, check_end, crashes = SCENARIOS["one entry beside two tools"]
    walk = Walk(CALLER, check_write, check_end, crashes=crashes)
    apply = Store.apply

    def careless(self, request):
        if step == "conflict" and hasattr(request, "version") and (live := self.get(request.name)):
            request = request.__class__(**{**_fields(request), "version": live.version})
        if step == "lost entry" and request.name == NAME and "mapRoles" in request.data:
            request = request.__class__(**{**_fields(request), "data": {"mapRoles": ""}})
        return apply(self, request)

    monkeypatch.setattr(Store, "apply", careless)
    with pytest.raises(AssertionError):
        walk.orders(store, writers, crashes)


def _fields(request):
    return {name: getattr(request, name) for name in request.__dataclass_fields__}
