"""The handlers of the mapping where no server is needed; what they write is shown on real ones."""

from types import SimpleNamespace

import boto3
import pytest
import requests
from botocore.parsers import ResponseParserError

from castai_stack.access.handlers import AccessEntryPlaceHandler
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.values import UNKNOWN
from sandbox import aws
from tests.support.plugin import handler

ARN = "arn:aws:iam::012345678901:role/r"


def test_the_place_of_an_access_entry_is_looked_at_once_for_each_principal():
    diff = handler(AccessEntryPlaceHandler).diff
    olds = {"principal_arn": "a", "adopt": False, "region": "r", "cluster_name": "c"}

    assert diff("", olds, {**olds, "adopt": True}).changes is False
    assert diff("", olds, {**olds, "principal_arn": UNKNOWN}).changes is False
    assert diff("", olds, {**olds, "principal_arn": "b"}).replaces == ["principal_arn"]


def test_an_access_entry_that_the_run_imports_is_neither_looked_at_nor_deleted(monkeypatch):
    monkeypatch.setattr(boto3, "client", lambda *_, **__: pytest.fail("EKS was asked"))
    props = {"cluster_name": "demo", "region": "r", "principal_arn": "a", "adopt": True}

    assert handler(AccessEntryPlaceHandler).create({**props, "imported": True}).id == "demo:a"


def test_an_incomplete_answer_about_an_access_entry_is_not_quoted(monkeypatch):
    def break_off(**_):
        raise ResponseParserError("Unable to parse response: b'<Secret>sentinel")

    eks = SimpleNamespace(
        describe_access_entry=break_off,
        exceptions=SimpleNamespace(ResourceNotFoundException=KeyError),
    )
    monkeypatch.setattr(boto3, "client", lambda *_, **__: eks)
    props = {"cluster_name": "demo", "region": "r", "principal_arn": "a", "adopt": False}

    with pytest.raises(ResourceError) as refusal:
        handler(AccessEntryPlaceHandler).create(props)

    assert str(refusal.value) == (
        "cluster demo: cannot look for an access entry of a: "
        "AWS's answer is incomplete; run the same command again"
    )


def test_a_throttled_look_at_an_access_entry_is_repeated(tmp_path, monkeypatch):
    server = aws.serve(tmp_path / "aws", authentication_mode="API")
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    for name, value in aws.root(server.url).environment(server.url).items():
        monkeypatch.setenv(name, value)
    rule = {"action": "eks:DescribeAccessEntry", "status": 429, "code": "ThrottlingException"}
    faults = {"rules": [{**rule, "times": 9}]}
    requests.put(f"{server.url}/_sandbox/faults", json=faults, timeout=5).raise_for_status()

    props = {"cluster_name": "demo", "region": "eu-central-1", "principal_arn": ARN, "adopt": False}
    assert handler(AccessEntryPlaceHandler).create(props).id
    log = requests.get(f"{server.url}/_sandbox/requests", timeout=5).json()["log"]
    assert [one["status"] for one in log] == [429] * 9 + [404]
    server.close()
