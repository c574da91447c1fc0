import pytest

from castai_stack.config.validation import validate
from castai_stack.preflight import castai
from castai_stack.preflight.findings import Findings
from tests.support.coroutines import completed

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"
BY_HAND = {"register": False, "clusterId": ID}


def settings(**more):
    return validate({"cluster": CLUSTER, **more}, "castai-eks:castai")


def findings(key, **api):
    return completed(castai.castai_findings(settings(api=api), key))


@pytest.mark.parametrize(
    ("key", "url", "sentence"),
    [
        ("k", "http://api.cast.ai", "api.url is a http address on api.cast.ai"),
        (" \n", "https://api.cast.ai", "the API key is empty"),
        ("SENTINEL\nSENTINEL", "https://api.cast.ai", "the API key holds a line break"),
    ],
)
def test_an_address_or_key_that_cannot_be_used_is_a_problem_and_no_traceback(key, url, sentence):
    [problem] = findings(key, url=url).problems

    assert sentence in problem
    assert "SENTINEL" not in problem


def test_castai_is_not_asked_without_a_key_or_without_registration():
    assert findings(None, url="https://nowhere.invalid") == Findings()
    assert findings("key", url="https://nowhere.invalid", **BY_HAND) == Findings()


@pytest.mark.parametrize(
    ("needed", "more"),
    [
        (True, {}),
        (True, {"credentials": {"mode": "none"}}),
        (True, {"api": BY_HAND}),
        (True, {"api": BY_HAND, "agent": {"existingSecret": "s"}}),
        (True, {"api": BY_HAND, "credentials": {"mode": "none"}}),
        (
            False,
            {"api": BY_HAND, "agent": {"existingSecret": "s"}, "credentials": {"mode": "none"}},
        ),
        (
            False,
            {"api": BY_HAND, "agent": {"existingSecret": "s"}, "spot": {"enabled": False}},
        ),
    ],
)
def test_a_key_is_needed_where_something_uses_it(needed, more):
    assert castai.needs_key(settings(**more)) is needed
