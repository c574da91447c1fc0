"""What the Spot handler makes of an event; says nothing of EC2, CAST AI or Lambda."""

import dataclasses
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castai_stack.spot_handler.decide import (
    INTERRUPTION,
    REBALANCE,
    Ignore,
    Instance,
    Notice,
    Report,
    judge,
    read,
)
from tests.support.spot import CLUSTER, FOREIGN, NOW, OURS, an_event

MAXIMUM_AGE = 180.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("source", "detail-type", "detail", "time")


def an_instance(**overrides) -> Instance:
    return dataclasses.replace(
        Instance(
            instance_id=OURS,
            zone="eu-central-1b",
            lifecycle="spot",
            tags={f"kubernetes.io/cluster/{CLUSTER}": "owned", "Name": "node"},
        ),
        **overrides,
    )


def a_notice(instance_id=OURS) -> Notice:
    return Notice("interrupted", instance_id, NOW - 1)


@pytest.mark.parametrize(
    ("kind", "event_type"),
    [(INTERRUPTION, "interrupted"), (REBALANCE, "rebalanceRecommendation")],
)
def test_both_event_types_are_parsed(kind, event_type):
    assert read(an_event(kind=kind, age=5), NOW, MAXIMUM_AGE) == Notice(event_type, OURS, NOW - 5)


def test_the_instance_comes_from_the_detail_and_never_from_the_arn():
    event = an_event(resources=[f"arn:aws:ec2:eu-central-1a:instance/{FOREIGN}"])

    assert read(event, NOW, MAXIMUM_AGE).instance_id == OURS


def test_an_event_with_an_arn_alone_is_ignored():
    event = an_event(detail={"instance-action": "terminate"})

    assert read(event, NOW, MAXIMUM_AGE) == Ignore("malformed")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (None, "malformed"),
        ([], "malformed"),
        ("text", "malformed"),
        ({}, "other-event"),
        (an_event(source="aws.autoscaling"), "other-event"),
        (an_event(kind="EC2 Instance State-change Notification"), "other-event"),
        (an_event(**{"detail-type": [INTERRUPTION]}), "other-event"),
        (an_event(detail=None), "malformed"),
        (an_event(detail=[OURS]), "malformed"),
        (an_event(""), "malformed"),
        (an_event(f"{OURS} "), "malformed"),
        (an_event(f"{OURS}\n"), "malformed"),
        (an_event(OURS.upper()), "malformed"),
        (an_event("i-0"), "malformed"),
        (an_event(time=None), "malformed"),
        (an_event(time="yesterday"), "malformed"),
        (an_event(time=NOW), "malformed"),
    ],
)
def test_malformed_events_are_ignored_with_a_reason(event, reason):
    decision = read(event, NOW, MAXIMUM_AGE)

    assert isinstance(decision, Ignore)
    assert decision.reason == reason


@pytest.mark.parametrize(("age", "stale"), [(180, False), (181, True), (86_400, True)])
def test_an_old_event_is_stale(age, stale):
    decision = read(an_event(age=age), NOW, MAXIMUM_AGE)

    assert (decision == Ignore("stale", OURS)) is stale


def test_a_clock_that_runs_behind_makes_no_event_stale():
    assert isinstance(read(an_event(age=-30), NOW, MAXIMUM_AGE), Notice)


@pytest.mark.parametrize("text", ["2026-11-18T12:26:40Z", "2026-11-18T13:26:40.000+01:00"])
def test_all_iso_spellings_of_a_time_are_equal(text):
    decision = read(an_event(time=text), 1_795_004_800, MAXIMUM_AGE)

    assert decision == Notice("interrupted", OURS, 1_795_004_800)


@pytest.fixture
def far_from_utc(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_a_time_without_a_zone_is_utc():
    assert read(an_event(time="2026-11-18T12:26:40"), 1_795_004_800, MAXIMUM_AGE) == Notice(
        "interrupted", OURS, 1_795_004_800
    )


@given(JSON)
def test_reading_never_raises(event):
    assert isinstance(read(event, NOW, MAXIMUM_AGE), Ignore)


@given(st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1))
def test_a_damaged_event_never_names_another_instance(broken):
    decision = read({**an_event(), **broken}, NOW, MAXIMUM_AGE)

    assert isinstance(decision, Ignore | Notice)
    assert decision.instance_id in ("", OURS)


@given(st.sampled_from(KEYS))
def test_an_event_that_lacks_a_field_is_ignored(key):
    event = an_event()
    del event[key]

    assert isinstance(read(event, NOW, MAXIMUM_AGE), Ignore)


@given(st.text())
def test_only_well_formed_instance_ids_are_accepted(text):
    decision = read(an_event(text), NOW, MAXIMUM_AGE)

    assert isinstance(decision, Ignore), f"took {text!r} for an instance"


@pytest.mark.parametrize("value", ["owned", "shared"])
def test_an_own_spot_instance_is_reported_as_kubernetes_knows_it(value):
    instance = an_instance(tags={f"kubernetes.io/cluster/{CLUSTER}": value})

    decision = judge(a_notice(), instance, CLUSTER)

    assert isinstance(decision, Report)
    assert decision.provider_id == f"aws:///eu-central-1b/{OURS}"


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"kubernetes.io/cluster/shop": "owned"},
        {"kubernetes.io/cluster/SHOP": "owned"},
        {"kubernetes.io/cluster/Shop2": "owned"},
        {"kubernetes.io/cluster/Sho": "owned"},
        {"Kubernetes.io/cluster/Shop": "owned"},
        {"kubernetes.io/cluster/Shop": ""},
        {"kubernetes.io/cluster/Shop": "Owned"},
        {"eks:cluster-name": "Shop"},
        {"Name": "kubernetes.io/cluster/Shop"},
    ],
)
def test_only_the_exact_cluster_tag_counts(tags):
    assert judge(a_notice(), an_instance(tags=tags), CLUSTER) == Ignore("foreign", OURS)


@pytest.mark.parametrize("lifecycle", ["", "scheduled", "capacity-block"])
def test_an_instance_that_is_not_spot_is_ignored(lifecycle):
    assert judge(a_notice(), an_instance(lifecycle=lifecycle), CLUSTER) == Ignore("not-spot", OURS)


@pytest.mark.parametrize("instance", [None, an_instance(zone="")])
def test_an_instance_that_ec2_does_not_know_is_ignored(instance):
    assert judge(a_notice(), instance, CLUSTER) == Ignore("unknown-instance", OURS)


@given(
    st.dictionaries(st.text(), st.text()),
    st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}", fullmatch=True),
)
def test_nothing_is_reported_without_the_tag_of_the_cluster(tags, cluster):
    tags.pop(f"kubernetes.io/cluster/{cluster}", None)

    assert judge(a_notice(), an_instance(tags=tags), cluster) == Ignore("foreign", OURS)
