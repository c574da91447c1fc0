"""The verdict on the cost of many clusters."""

import io

import pytest
from rich.console import Console

from sandbox.proofs.growth import Cost, report


def cost(size, reads, failures=()):
    return Cost("up", size, 10.0, 2.0, reads, 10 * size, 3, failures)


@pytest.mark.parametrize(
    ("costs", "met"),
    [
        ([cost(1, 100), cost(10, 1000)], True),
        ([cost(1, 100), cost(10, 1100)], True),
        ([cost(1, 100), cost(10, 1300)], False),
        ([cost(1, 100), cost(10, 1000, ("fleet-003: refused",))], False),
    ],
)
def test_the_cost_of_one_cluster_stays_flat_and_nothing_fails(costs, met):
    console = Console(width=200, record=True, file=io.StringIO())

    assert report(costs, console) is met
    text = console.export_text()
    assert ("MISSED" in text or "fleet-003: refused" in text) is not met


def test_the_requests_of_a_preview_are_listed_for_one_cluster():
    console = Console(width=200, record=True, file=io.StringIO())
    request_counts = {"iam:GetRole": 20, "eks:DescribeCluster": 10}

    report([Cost("preview", 10, 10.0, 2.0, 30, 0, 0, (), request_counts)], console)
    assert "for one cluster:\n  eks:DescribeCluster: 1\n  iam:GetRole: 2\n" in console.export_text()
