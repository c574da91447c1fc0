"""The replay is a measuring device: it must see what it is there to see."""

import random

import pytest

from castai_stack.spot_handler import decide, handler
from sandbox.proofs import spot_replay
from sandbox.proofs.spot_replay import CLUSTER, Weather, bad_weather, deviations, replay, stream


def a_stream(events=300, seed=7):
    return stream(events, random.Random(seed))  # noqa: S311 - repeatable


def test_the_stream_is_mostly_foreign_and_holds_every_kind():
    sent = a_stream(10_000)
    kinds = {one.kind for one in sent}

    assert kinds == {"own", "foreign", "malformed", "stale", "not-spot"}
    assert 0.85 < sum(one.host.cluster != CLUSTER for one in sent) / len(sent) < 0.95
    assert len(sent) == 10_000
    assert {one.host.cluster.lower() for one in sent} >= {"shop"}, "names that differ by case"


def test_a_sound_handler_shows_no_deviation():
    outcome = replay(a_stream(), bad_weather(), seed=7)

    assert not deviations(outcome)
    assert outcome.latencies()


def test_the_handlers_waits_take_no_time():
    outcome = replay(a_stream(40), spot_replay.long_outage("castai"), seed=7)

    assert outcome.cloud.dead_letters
    assert outcome.seconds < 120


def test_an_outage_longer_than_the_notice_ends_in_the_queue_and_loses_nothing():
    for service in ("ec2", "castai"):
        outcome = replay(a_stream(60), spot_replay.long_outage(service), seed=7)

        assert outcome.missed()
        assert not spot_replay.lost(outcome)


def test_a_report_of_a_foreign_instance_is_seen(monkeypatch):
    honest = decide.judge

    def careless(notice, instance, cluster):
        tags = {key.replace("shop", "Shop"): value for key, value in instance.tags.items()}
        mistaken = decide.Instance(
            instance.instance_id, instance.zone, instance.lifecycle, tags, ""
        )
        return honest(notice, mistaken, cluster)

    monkeypatch.setattr(handler, "judge", careless)
    result = deviations(replay(a_stream(), Weather(()), seed=7))

    assert any(text.startswith("reported wrongly: ") for text in result)


def test_a_report_that_never_comes_is_seen(monkeypatch):
    monkeypatch.setattr(handler, "judge", lambda *_: decide.Ignore("foreign"))
    result = deviations(replay(a_stream(), Weather(()), seed=7))

    assert any(text.startswith("never reported: ") for text in result)


def test_a_handler_without_a_memory_of_foreign_instances_is_seen(monkeypatch):
    monkeypatch.setattr(handler.instances.ForeignInstances, "__contains__", lambda *_: False)
    result = deviations(replay(a_stream(), Weather(()), seed=7))

    assert any("describes for a foreign event, wanted at most 1" in text for text in result)


def test_a_key_in_the_log_is_seen(monkeypatch):
    monkeypatch.setattr(handler, "_labels", lambda _event: {"key": spot_replay.KEY})
    result = deviations(replay(a_stream(20), Weather(()), seed=7))

    assert "the API key is in the log" in result


@pytest.mark.parametrize(("broken", "status"), [(False, 0), (True, 1)])
def test_the_exit_status_says_whether_all_went_well(monkeypatch, capsys, broken, status):
    monkeypatch.setattr(spot_replay, "import_seconds", lambda: [0.1])
    if broken:
        monkeypatch.setattr(handler, "judge", lambda *_: decide.Ignore("foreign"))

    assert spot_replay.main(["--events", "200"]) == status
    printed = capsys.readouterr().out
    assert "event to report, p99" in printed
    assert ("spot-replay: ok, 200 events" in printed) is (status == 0)
    assert ("deviation: never reported" in printed) is broken


def test_the_packed_handler_is_imported_by_a_fresh_interpreter():
    assert all(seconds > 0 for seconds in spot_replay.import_seconds(1))
