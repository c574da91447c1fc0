"""The Spot handler at its edges: EC2 by a double, CAST AI over HTTP on loopback."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from castai_stack.spot_handler import handler as spot_handler_handler
from castai_stack.spot_handler.castai import Castai, ReportError
from castai_stack.spot_handler.deadline import Deadline
from castai_stack.spot_handler.decide import REBALANCE
from castai_stack.spot_handler.eks_token import eks_token
from castai_stack.spot_handler.handler import Settings, SettingsError, SpotHandler
from castai_stack.spot_handler.instances import ForeignInstances
from tests.support.spot import (
    CLUSTER,
    CLUSTER_ID,
    FOREIGN,
    NOW,
    OURS,
    Clock,
    Ec2,
    EventsEndpoint,
    an_event,
    described,
    iso,
    refusal,
)

KEY = "SENTINEL-api-key"
ENVIRONMENT = {
    "CLUSTER_NAME": CLUSTER,
    "CLUSTER_ID": CLUSTER_ID,
    "CASTAI_API_URL": "https://api.example",
    "CASTAI_API_KEY": KEY,
    "MAXIMUM_EVENT_AGE_SECONDS": "180",
}
UNREACHABLE = EndpointConnectionError(endpoint_url="https://ec2.example")
SILENT = ReadTimeoutError(endpoint_url="https://ec2.example")


@pytest.fixture
def endpoint():
    with EventsEndpoint() as running:
        yield running


@pytest.fixture
def clock():
    return Clock()


def a_handler(endpoint, clock, ec2, *, key=KEY, cluster=CLUSTER):
    castai = Castai(endpoint.url, CLUSTER_ID, key if callable(key) else lambda _fresh: key)
    settings = Settings(cluster_name=cluster, maximum_age=180, drain=False)
    return SpotHandler(settings, ec2, castai, clock=clock, sleep=clock.sleep)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_interruption_of_an_own_instance_reaches_castai(endpoint, clock, capsys):
    a_handler(endpoint, clock, Ec2(described())).handle(an_event(), 90)

    (report,) = endpoint.reports
    assert report.path == f"/v1/kubernetes/external-clusters/{CLUSTER_ID}/events"
    assert report.key == KEY
    assert report.body == {
        "eventType": "interrupted",
        "nodeId": "",
        "providerId": f"aws:///eu-central-1b/{OURS}",
    }
    (line,) = lines(capsys)
    assert line["decision"] == "reported"
    assert line["instanceId"] == OURS
    assert line["castaiRequestId"] == "request-1"


def test_a_rebalance_recommendation_is_reported_with_its_type(endpoint, clock):
    a_handler(endpoint, clock, Ec2(described())).handle(an_event(kind=REBALANCE), 90)

    assert [report.body["eventType"] for report in endpoint.reports] == ["rebalanceRecommendation"]


@pytest.mark.parametrize(
    ("ec2", "event", "reason"),
    [
        (Ec2(described(FOREIGN, cluster="shop")), an_event(FOREIGN), "foreign"),
        (Ec2(described(FOREIGN, cluster="Other")), an_event(FOREIGN), "foreign"),
        (Ec2(described(lifecycle="")), an_event(), "not-spot"),
        (Ec2(), an_event(), "unknown-instance"),
        (Ec2(described()), an_event(age=181), "stale"),
        (Ec2(described()), an_event(detail={}), "malformed"),
        (Ec2(described()), {"source": "aws.s3"}, "other-event"),
    ],
)
def test_other_events_are_not_reported(endpoint, capsys, ec2, event, reason):
    a_handler(endpoint, Clock(), ec2).handle(event, 90)

    assert not endpoint.reports, f"{reason} was reported"
    (line,) = lines(capsys)
    assert (line["decision"], line["reason"]) == ("ignored", reason)


def test_ignored_events_make_no_request_to_ec2(endpoint, clock):
    ec2 = Ec2(described())
    for event in (an_event(age=181), an_event("i-0"), {}, None):
        a_handler(endpoint, clock, ec2).handle(event, 90)

    assert not ec2.requests, "asked EC2 about an event that was ignored anyway"


def test_a_cached_foreign_instance_needs_no_request(endpoint, clock):
    ec2 = Ec2(described(FOREIGN, cluster="Other"))
    handler = a_handler(endpoint, clock, ec2)
    for _ in range(5):
        handler.handle(an_event(FOREIGN), 90)

    assert ec2.requests == [FOREIGN]


def test_the_cache_of_foreign_instances_expires(endpoint, clock):
    ec2 = Ec2(described(FOREIGN, cluster="Other"))
    handler = a_handler(endpoint, clock, ec2)
    handler.handle(an_event(FOREIGN), 90)
    clock.now += 901
    handler.handle(an_event(FOREIGN, age=-901), 90)

    assert ec2.requests == [FOREIGN, FOREIGN]


def test_own_and_unknown_instances_are_not_cached(endpoint, clock):
    ec2 = Ec2(described(OURS))
    handler = a_handler(endpoint, clock, ec2)
    handler.handle(an_event(FOREIGN), 90)
    ec2.instances[FOREIGN] = described(FOREIGN)
    handler.handle(an_event(FOREIGN), 90)
    handler.handle(an_event(OURS), 90)
    handler.handle(an_event(OURS), 90)

    assert len(endpoint.reports) == 3


def test_the_cache_of_foreign_instances_is_bounded():
    foreign = ForeignInstances(seconds=10, limit=3, clock=lambda: 0.0)
    for number in range(100):
        foreign.add(f"i-{number}")

    assert len(foreign) == 3
    assert "i-99" in foreign
    assert "i-96" not in foreign, "the oldest must go first"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reports_are_retried_while_castai_is_busy_or_failing(endpoint, clock, capsys, status):
    endpoint.answers = [(status, {}), (status, {})]
    a_handler(endpoint, clock, Ec2(described())).handle(an_event(), 90)

    assert len(endpoint.reports) == 3
    assert lines(capsys)[0]["attempts"] == 3


def test_retry_after_is_honoured(endpoint, clock):
    endpoint.answers = [(429, {"Retry-After": "17"})]
    a_handler(endpoint, clock, Ec2(described())).handle(an_event(), 90)

    assert clock.slept == [17.0]


@pytest.mark.parametrize("wish", ["3600", "-5", "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
def test_retry_after_is_cut_at_the_deadline(endpoint, clock, wish):
    endpoint.answers = [(503, {"Retry-After": wish.encode("utf-8").decode("latin-1")})]
    a_handler(endpoint, clock, Ec2(described())).handle(an_event(), 90)

    assert len(endpoint.reports) == 2
    assert clock.now - NOW < 90


@pytest.mark.parametrize("status", [301, 307, 308, 400, 404, 409])
def test_a_refusal_of_castai_is_raised_at_once(endpoint, clock, capsys, status):
    endpoint.answers = [(status, {"Location": endpoint.url})] * 5
    with pytest.raises(
        ReportError, match=rf"HTTP {status} after 1 attempt \[request id request-1\]"
    ):
        a_handler(endpoint, clock, Ec2(described())).handle(an_event(), 90)

    assert len(endpoint.reports) == 1, "a refusal is not repeated, a redirect not followed"
    (line,) = lines(capsys)
    assert line["decision"] == "failed"


def test_an_outage_is_retried_until_the_instance_ends(endpoint, clock):
    endpoint.answers = [(503, {})] * 1000
    with pytest.raises(ReportError, match="HTTP 503"):
        a_handler(endpoint, clock, Ec2(described())).handle(an_event(age=30), 600)

    assert 88 < clock.now - NOW <= 90


def test_retries_end_before_the_invocation(endpoint, clock):
    endpoint.answers = [(503, {})] * 1000
    with pytest.raises(ReportError):
        a_handler(endpoint, clock, Ec2(described())).handle(an_event(age=1), 30)

    assert 24 < clock.now - NOW <= 27


def test_a_late_event_still_gets_a_few_attempts(endpoint, clock):
    endpoint.answers = [(503, {}), (503, {})]
    a_handler(endpoint, clock, Ec2(described())).handle(an_event(age=170), 90)

    assert len(endpoint.reports) == 3


def test_a_refused_connection_is_reported_without_the_key(clock, capsys):
    with EventsEndpoint() as closed_endpoint:
        pass
    with pytest.raises(ReportError, match=r"no answer, ConnectionRefusedError"):
        a_handler(closed_endpoint, clock, Ec2(described())).handle(an_event(), 30)

    assert KEY not in capsys.readouterr().out


@pytest.mark.parametrize(
    "failure",
    [
        refusal("RequestLimitExceeded", 503),
        refusal("Throttling", 400),
        refusal("InternalError", 500),
        UNREACHABLE,
        SILENT,
    ],
)
def test_descriptions_are_retried_while_ec2_is_busy_or_failing(endpoint, clock, failure):
    ec2 = Ec2(described(), failures=[failure, failure])
    a_handler(endpoint, clock, ec2).handle(an_event(), 90)

    assert len(ec2.requests) == 3
    assert len(endpoint.reports) == 1


def test_a_refusal_of_ec2_is_raised_at_once(endpoint, clock, capsys):
    ec2 = Ec2(described(), failures=[refusal("UnauthorizedOperation", 403)] * 5)
    with pytest.raises(Exception, match="UnauthorizedOperation"):
        a_handler(endpoint, clock, ec2).handle(an_event(), 90)

    assert len(ec2.requests) == 1
    assert lines(capsys)[0]["decision"] == "failed"


@pytest.mark.parametrize("failure", [refusal("RequestLimitExceeded", 503), UNREACHABLE])
def test_an_outage_of_ec2_is_raised_and_caches_nothing(endpoint, clock, failure):
    ec2 = Ec2(described(), failures=[failure] * 1000)
    handler = a_handler(endpoint, clock, ec2)
    with pytest.raises(type(failure)):
        handler.handle(an_event(), 60)
    ec2.failures.clear()
    handler.handle(an_event(age=0), 60)

    assert len(endpoint.reports) == 1


def test_one_line_of_json_is_written_for_each_event(endpoint, clock, capsys):
    handler = a_handler(endpoint, clock, Ec2(described(), described(FOREIGN, cluster="Other")))
    events = [an_event(), an_event(FOREIGN), None, an_event(detail={"instance-id": "x\ny" * 999})]
    for event in events:
        handler.handle(event, 90)

    assert [line["decision"] for line in lines(capsys)] == ["reported", *["ignored"] * 3]


def test_the_key_is_in_no_log_line_and_no_exception(endpoint, clock, capsys):
    endpoint.message = f"token {KEY} is not known"
    endpoint.answers = [(401, {})]
    with pytest.raises(ReportError) as caught:
        a_handler(endpoint, clock, Ec2(described())).handle(an_event(), 90)

    assert KEY not in str(caught.value)
    assert "token *** is not known" in str(caught.value)
    assert KEY not in capsys.readouterr().out


def test_a_rotated_key_is_fetched_once_more_when_the_old_one_is_refused(endpoint, clock):
    endpoint.answers = [(401, {})]
    keys = iter(["old", "new", "never"])
    a_handler(endpoint, clock, Ec2(described()), key=lambda _fresh: next(keys)).handle(
        an_event(), 90
    )

    assert [report.key for report in endpoint.reports] == ["old", "new"]


def test_a_refused_key_is_renewed_once(endpoint, clock):
    endpoint.answers = [(403, {})] * 10
    keys = iter(["old", "new", "never"])
    with pytest.raises(ReportError, match="HTTP 403"):
        a_handler(endpoint, clock, Ec2(described()), key=lambda _fresh: next(keys)).handle(
            an_event(), 90
        )

    assert [report.key for report in endpoint.reports] == ["old", "new"]


def test_pauses_grow_and_end_before_the_deadline():
    clock = Clock(0.0)
    deadline = Deadline(30.0, clock, clock.sleep)
    attempts = 0
    while deadline.pause(attempts := attempts + 1):
        assert deadline.left() >= 0.99

    assert max(clock.slept[:8]) > 8 * clock.slept[0] / 2
    assert attempts < 20, "pauses are to grow"


def test_an_incomplete_environment_names_all_missing_variables():
    with pytest.raises(SettingsError) as caught:
        Settings.of({"DRAIN": "true", "CLUSTER_ID": CLUSTER_ID})

    assert str(caught.value) == (
        "environment of the function: missing CLUSTER_NAME, CASTAI_API_URL, "
        "MAXIMUM_EVENT_AGE_SECONDS, CLUSTER_ENDPOINT, CLUSTER_CERTIFICATE_AUTHORITY, "
        "CASTAI_API_KEY or CASTAI_API_KEY_SECRET_ARN"
    )


def test_the_entry_point_works_from_the_environment_alone(endpoint, monkeypatch):
    for name, value in {**ENVIRONMENT, "CASTAI_API_URL": endpoint.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(spot_handler_handler.instances, "ec2_client", lambda: Ec2(described()))
    spot_handler_handler._handler.cache_clear()

    class Context:
        def get_remaining_time_in_millis(self):
            return 60_000

    try:
        spot_handler_handler.handle(an_event(time=iso(time.time())), Context())
        first = spot_handler_handler._handler()
        spot_handler_handler.handle(an_event(time=iso(time.time())), Context())
        assert spot_handler_handler._handler() is first, "clients are to outlive the invocation"
    finally:
        spot_handler_handler._handler.cache_clear()

    assert len(endpoint.reports) == 2


def test_the_key_comes_from_secrets_manager_when_the_environment_names_a_secret(monkeypatch):
    answers = iter(["first", "second"])
    secret_ids = []

    class SecretsManager:
        def get_secret_value(self, *, SecretId):  # noqa: N803 - boto3's spelling
            secret_ids.append(SecretId)
            return {"SecretString": next(answers)}

    monkeypatch.setattr(
        boto3, "client", lambda service: {"secretsmanager": SecretsManager()}[service]
    )
    key = spot_handler_handler.key_source({"CASTAI_API_KEY_SECRET_ARN": "arn:aws:secretsmanager:x"})

    assert [key(False), key(False), key(True), key(False)] == ["first", "first", "second", "second"]
    assert secret_ids == ["arn:aws:secretsmanager:x"] * 2


def test_clients_do_not_retry_by_themselves(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    assert (
        spot_handler_handler.instances.ec2_client().meta.config.retries["total_max_attempts"] == 1
    )


def test_the_token_for_the_cluster_is_a_presigned_identity_bound_to_its_name(monkeypatch):
    import base64
    from urllib.parse import parse_qs, urlsplit

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    token = eks_token("Shop")

    prefix, _, text = token.partition(".")
    url = urlsplit(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    query = parse_qs(url.query)
    assert prefix == "k8s-aws-v1"
    assert "=" not in text
    assert url.hostname == "sts.eu-central-1.amazonaws.com"
    assert query["Action"] == ["GetCallerIdentity"]
    assert query["X-Amz-Expires"] == ["60"]
    assert "x-k8s-aws-id" in query["X-Amz-SignedHeaders"][0].split(";")


def test_the_handler_imports_nothing_of_the_program_and_makes_no_client_on_import():
    source = Path(spot_handler_handler.__file__).parents[1]
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import spot_handler.handler as h; "
        "print(sorted(m for m in sys.modules if m.startswith(('castai_stack', 'pulumi'))), "
        "h._handler.cache_info().currsize)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CASTAI_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, str(source)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )

    assert done.stdout.strip() == "[] 0"
