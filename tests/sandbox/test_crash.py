import io

import pytest
from rich.console import Console

from sandbox.inventory import differences
from sandbox.kubernetes.proxy import changes
from sandbox.proofs.comparison import comparable
from sandbox.proofs.crash import (
    KINDS,
    Outcome,
    Point,
    in_order,
    sample,
    summary,
    table,
)

ONE = "4cd161ce-09e6-4397-985f-e28e3e8f46ae"
OTHER = "8d1ee36c-1111-4222-8333-444455556666"


def account(cluster_id, key, *more):
    keys = {name: {"user": "cast-eks-demo", "status": "Active"} for name in (key, *more)}
    role = f"cast-demo-eks-{cluster_id[:8]}"
    arn = f"arn:aws:iam::012345678901:role/{role}"
    return {"iam-access-key": keys, "iam-role": {role: {"arn": arn, "tags": {"id": cluster_id}}}}


def test_two_runs_compare_equal_whatever_their_ids():
    first = comparable(account(ONE, "AKIAQFX64DQ27YUQWIRO"), ONE)
    second = comparable(account(OTHER, "AKIAAAAAAAAAAAAAAAAA"), OTHER)

    assert first == second


def test_things_of_one_kind_compare_equal_whatever_the_order_of_their_ids():
    first = {"ec2-instance": {"i-0a0a0a0a": {"tag": "node"}, "i-0b0b0b0b": {"tag": "other"}}}
    second = {"ec2-instance": {"i-0c0c0c0c": {"tag": "other"}, "i-0d0d0d0d": {"tag": "node"}}}

    assert comparable(first, ONE) == comparable(second, OTHER)


def test_a_duplicate_is_not_hidden_by_leaving_out_ids():
    first = comparable(account(ONE, "AKIAQFX64DQ27YUQWIRO"), ONE)
    second = comparable(account(OTHER, "AKIAAAAAAAAAAAAAAAAA", "AKIABBBBBBBBBBBBBBBB"), OTHER)

    assert [str(one) for one in differences(first, second)] == ["iam-access-key <id> (2) appeared"]


def test_what_belongs_to_another_cluster_is_a_difference():
    first = comparable(account(ONE, "AKIAQFX64DQ27YUQWIRO"), ONE)
    second = comparable(account(OTHER, "AKIAQFX64DQ27YUQWIRO"), ONE)

    assert differences(first, second)


def test_pods_follow_from_their_deployment_and_are_not_compared():
    result = {"Pod (api/v1)": {"castai-agent/castai-agent-848b48454c-dmdzl": {}}}

    assert comparable(result, ONE) == {}


def test_a_sample_is_spread_evenly_and_is_the_same_every_time():
    points = [Point("user", "up", "AWS", "iam:CreateRole", n, "up") for n in range(1, 11)]

    assert [point.number for point in sample(points, 2)] == [3, 8]
    assert sample(points, 2) == sample(points, 2)
    assert sample(points, 99) == points


KILLED = Outcome(Point("user", "up", "AWS", "iam:CreateRole", 2, "up"), True, 1, 9.6)
ENDED = Outcome(Point("user", "up", "CAST AI", "castai:Register", 1, "up"), False, 0, 3.0)
BROKEN = Outcome(
    Point("role", "destroy", "AWS", "iam:DeleteRole", 1, "destroy"),
    True,
    0,
    4.0,
    "[AWS] x appeared",
)


def printed(result):
    console = Console(width=200, file=io.StringIO())
    console.print(result)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_the_table_names_each_point_and_what_came_of_it():
    lines = [
        [cell for cell in line if cell != "│"] for line in printed(table([KILLED, ENDED, BROKEN]))
    ]

    assert ["user", "up", "AWS", "iam:CreateRole", "2", "up", "1", "10", "converged"] in lines
    assert any(line[-3:] == ["had", "ended", "before"] for line in lines)
    assert any(line[-3:] == ["[AWS]", "x", "appeared"] for line in lines), "markup ate the outcome"


def test_the_summary_counts_what_converged_and_nothing_else_as_such():
    lines = [
        [cell for cell in line if cell != "│"] for line in printed(summary([KILLED, ENDED, BROKEN]))
    ]

    assert ["user", "up", "up", "2", "1", "1", "0", "6", "10"] in lines
    assert ["role", "destroy", "destroy", "1", "0", "0", "1", "4", "4"] in lines


@pytest.mark.parametrize(
    ("method", "path", "changing"),
    [
        ("GET", "/api/v1/pods", False),
        ("POST", "/api/v1/namespaces", True),
        ("PATCH", "/api/v1/namespaces/x?fieldManager=y", True),
        ("PATCH", "/api/v1/namespaces/x?dryRun=All", False),
        ("DELETE", "/api/v1/namespaces/x", True),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", False),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews?timeout=1s", False),
    ],
)
def test_dry_runs_and_questions_change_nothing(method, path, changing):
    assert changes(method, path) is changing


def test_points_are_sorted_so_that_one_begins_where_another_has_ended():
    def point(operation, then):
        return Point("user", operation, "AWS", "x", 1, then)

    points = [point(*kind) for kind in KINDS for _ in range(2)]

    assert [(one.operation, one.then) for one in in_order(points)] == [
        ("up", "destroy"),
        ("up", "destroy"),
        ("up", "up"),
        ("destroy", "destroy"),
        ("up", "up"),
        ("destroy", "destroy"),
        ("destroy", "up"),
        ("destroy", "up"),
    ]
    assert sorted(map(str, in_order(points))) == sorted(map(str, points))


def test_a_policy_that_was_updated_in_place_is_compared_by_its_default_version():
    def policy(default, **versions):
        return comparable({"iam-policy": {"p": {"default": default, "versions": versions}}}, ONE)

    assert policy("v1", v1="new") == policy("v2", v1="old", v2="new")
    assert policy("v1", v1="new") != policy("v1", v1="old", v2="new")
