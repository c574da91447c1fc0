"""The slots, and the whole rotation as a state machine that crashes after every step."""

from collections import deque
from dataclasses import dataclass, replace

import pytest

from castai_stack.iam import key_slots
from castai_stack.iam.key_slots import Slot, slots


def test_a_new_stack_has_one_active_key():
    assert slots(0) == (Slot("a", 0, "Active", current=True),)


@pytest.mark.parametrize(("generation", "current", "previous"), [(1, "b", "a"), (2, "a", "b")])
def test_a_rotation_moves_to_the_other_slot_and_keeps_the_old_key_inactive(
    generation, current, previous
):
    assert slots(generation) == (
        Slot(current, generation, "Active", current=True),
        Slot(previous, generation - 1, "Inactive", current=False),
    )


def test_delete_inactive_removes_the_previous_key():
    assert slots(3, delete_inactive=True) == (Slot("b", 3, "Active", current=True),)


def test_where_a_person_hands_over_the_previous_key_stays_active():
    assert slots(1, keep_previous_active=True)[1].status == "Active"


def test_a_negative_generation_is_refused():
    with pytest.raises(ValueError, match="generation: found -1; allowed: 0 or more"):
        slots(-1)


@pytest.mark.parametrize("generation", range(1, 6))
def test_a_rotation_never_touches_the_key_in_use(generation):
    """The slot that gets a new key is not the one of the generation before."""
    new = slots(generation + 1)[0]
    in_use = slots(generation)[0]
    assert new.name != in_use.name
    previous = slots(generation + 1)[1]
    assert (previous.name, previous.generation) == (in_use.name, in_use.generation)


# The model: AWS, CAST AI, and the engine's state, changed in the engine's order. A key is its
# generation and a serial number; every step is two moments, done and written down.


@dataclass(frozen=True)
class Key:
    serial: int
    active: bool


@dataclass(frozen=True)
class World:
    keys: frozenset = frozenset()  # in AWS
    registered: int | None = None  # serial that CAST AI holds
    # the engine's state
    guard: tuple | None = None  # generation, whether a hand-over followed its opening
    slot_a: tuple | None = None  # serial, generation, status
    slot_b: tuple | None = None
    handed: int | None = None

    def slot(self, name):
        return self.slot_a if name == "a" else self.slot_b

    def with_slot(self, name, value):
        return replace(self, slot_a=value) if name == "a" else replace(self, slot_b=value)


class LimitExceededError(Exception):
    """AWS allows two keys."""


class GuardedError(Exception):
    """The guard refuses."""


def create_key(world):
    if len(world.keys) >= 2:
        raise LimitExceededError
    serials = {key.serial for key in world.keys} | {world.registered, world.handed}
    serials |= {slot[0] for slot in (world.slot_a, world.slot_b) if slot is not None}
    serial = min(set(range(1, 9)) - serials)
    return replace(world, keys=world.keys | {Key(serial, active=True)}), serial


def delete_key(world, serial):
    return replace(world, keys=frozenset(k for k in world.keys if k.serial != serial))


def deactivate_key(world, serial):
    return replace(
        world,
        keys=frozenset(Key(k.serial, active=k.active and k.serial != serial) for k in world.keys),
    )


def guarded(world, generation, *, asks_castai=True):
    """The rules of RotationGuard."""
    if world.guard is None or world.guard[0] == generation:
        return
    old, finished = world.guard
    if generation != old + 1 or (asks_castai and not finished):
        raise GuardedError


def fill(world, slot):
    """Bring one slot to what is wanted: delete before replace, then create."""
    there = world.slot(slot.name)
    if there is not None and there[1] != slot.generation:
        world = delete_key(world, there[0])
        yield world
        world = world.with_slot(slot.name, None)
        yield world
        there = None
    if there is None:
        world, serial = create_key(world)
        yield world
        world = world.with_slot(slot.name, (serial, slot.generation, "Active"))
        yield world
    serial, generation, status = world.slot(slot.name)
    if status != slot.status:
        assert slot.status == "Inactive"
        world = deactivate_key(world, serial)
        yield world
        world = world.with_slot(slot.name, (serial, generation, slot.status))
        yield world


def up(world, generation, *, delete_inactive, asks_castai=True):
    """One run, as the worlds between its steps."""
    guarded(world, generation, asks_castai=asks_castai)
    if world.guard is None or world.guard[0] != generation:
        world = replace(world, guard=(generation, False))
        yield world
    desired = slots(generation, delete_inactive=delete_inactive)
    current = next(slot for slot in desired if slot.current)
    for each in fill(world, current):
        world = each
        yield world
    serial = world.slot(current.name)[0]
    if world.handed != serial:
        world = replace(world, registered=serial, guard=(world.guard[0], True))
        yield world
        world = replace(world, handed=serial)
        yield world
    for slot in desired:
        if not slot.current:
            for each in fill(world, slot):
                world = each
                yield world
    for name in {"a", "b"} - {slot.name for slot in desired}:
        there = world.slot(name)
        if there is not None:
            world = delete_key(world, there[0])
            yield world
            world = world.with_slot(name, None)
            yield world


def recover(world):
    """Delete the keys whose secret was lost: those that no slot knows."""
    in_state = {slot[0] for slot in (world.slot_a, world.slot_b) if slot is not None}
    for key in sorted(world.keys, key=lambda key: key.serial):
        if key.serial not in in_state:
            world = delete_key(world, key.serial)
            yield world


def check(world, before):
    assert len(world.keys) <= 2, f"more than two keys: {world}"
    if before.registered is not None:
        assert any(key.serial == world.registered and key.active for key in world.keys), (
            f"CAST AI has no valid key: {before} became {world}"
        )


def last(worlds, first):
    """Run to the end, with every moment checked."""
    for world in worlds:
        check(world, first)
        first = world
    return first


def explore(generations, *, asks_castai=True):
    """Every world that can come about by crashing anywhere, recovering or not, and going on."""
    worlds, todo = {World()}, deque([World()])
    finished = set()
    while todo:
        world = todo.popleft()
        runs = [(recover(world), None)]
        for generation in range(generations):
            for delete_inactive in (False, True):
                run = up(
                    world, generation, delete_inactive=delete_inactive, asks_castai=asks_castai
                )
                runs.append((run, (generation, delete_inactive)))
        for run, goal in runs:
            before = world
            try:
                for after in run:
                    check(after, before)
                    before = after
                    if after not in worlds:
                        worlds.add(after)
                        todo.append(after)
            except (LimitExceededError, GuardedError):
                continue
            if goal is not None:
                finished.add((goal, before))
    return worlds, finished


def test_at_every_moment_a_valid_key_is_registered_and_never_more_than_two_exist():
    worlds, finished = explore(4)
    assert len(worlds) > 200, "the model explores little"
    for (generation, delete_inactive), world in finished:
        desired = slots(generation, delete_inactive=delete_inactive)
        current = world.slot(desired[0].name)
        assert world.registered == current[0] == world.handed
        assert {slot.name for slot in desired} == {
            name for name in ("a", "b") if world.slot(name) is not None
        }


def test_after_any_crash_recovering_and_running_again_converges():
    worlds, _ = explore(3)
    for start in worlds:
        generation = 0 if start.guard is None else start.guard[0]
        world = last(recover(start), start)
        world = last(up(world, generation, delete_inactive=False), world)
        assert list(up(world, generation, delete_inactive=False)) == [], "a second run changes"
        in_state = {slot[0] for slot in (world.slot_a, world.slot_b) if slot is not None}
        assert {key.serial for key in world.keys} <= in_state, "a key is left over"
        assert world.registered == world.slot(slots(generation)[0].name)[0]


@pytest.mark.parametrize(
    ("statuses", "desired", "exceeds"),
    [
        ([], slots(0), False),
        (["Active"], slots(0), False),
        (["Active", "Inactive"], slots(0), True),
        (["Active", "Active"], slots(0), True),
        (["Active"], slots(1), False),
        (["Inactive", "Active"], slots(1), False),
        (["Active", "Active"], slots(1), True),
        (["Active", "Active"], slots(1, keep_previous_active=True), False),
        (["Active", "Inactive"], slots(1, delete_inactive=True), True),
    ],
)
def test_excess_keys_are_detected(statuses, desired, exceeds):
    assert key_slots.exceeds(statuses, desired) is exceeds


def test_without_asking_castai_the_guard_would_let_the_key_in_use_be_deleted():
    """Why the counter alone is not enough: a crash after the guard, then a further rise."""
    with pytest.raises(AssertionError, match="CAST AI has no valid key"):
        explore(4, asks_castai=False)
