"""A fixed sample of the moments at which an engine can die; `make crash` goes through all."""

import pytest

from sandbox.crash import Crash, Outcome, Point, sample, table

POINTS = [
    Point("user", "up", "aws", "CreateAccessKey", 1, "destroy"),
    Point("role", "up", "castai", "UpdateCluster", 1, "up"),
    Point("user", "destroy", "castai", "Disconnect", 1, "destroy"),
]


@pytest.mark.sandbox
@pytest.mark.parametrize("point", POINTS, ids=lambda p: f"{p.mode}-{p.operation}-{p.request}")
def test_a_killed_run_is_recovered_and_leaves_nothing(sandbox, point):
    outcome = Crash(sandbox).die(point)
    assert outcome.problem is None


def test_a_sample_is_spread_evenly_and_always_the_same():
    points = [Point("user", "up", "aws", "A", n, "up") for n in range(1, 11)]
    assert [point.number for point in sample(points, 5)] == [1, 3, 5, 7, 9]
    assert sample(points, 0) == points
    assert sample(points, 99) == points


def test_the_table_names_each_point_and_what_came_of_it():
    lines = table([Outcome(POINTS[0], 12.4, None), Outcome(POINTS[1], 1, "AWS: x appeared")])
    assert lines.splitlines() == [
        "MODE  OPERATION  SERVER  REQUEST          NO.  THEN     SECONDS  RESULT",
        "user  up         aws     CreateAccessKey  1    destroy  12       ok",
        "role  up         castai  UpdateCluster    1    up       1        AWS: x appeared",
    ]
