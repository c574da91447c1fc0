import json

import pulumi
import pytest

from castai_stack.config.program import ConfigError, api_key, load, missing_key, unread_settings

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("CASTAI_API_KEY", raising=False)
    monkeypatch.delenv("CASTAI_API_URL", raising=False)
    yield
    pulumi.runtime.set_all_config({})


def test_the_object_is_read_from_the_stack():
    pulumi.runtime.set_all_config({"castai-eks:castai": json.dumps({"cluster": CLUSTER})})

    assert load(pulumi.Config("castai-eks")).cluster.name == "demo"


def test_an_object_that_holds_secrets_is_not_quoted_in_errors():
    raw = {"cluster": {**CLUSTER, "name": "!SENTINEL"}}
    pulumi.runtime.set_all_config({"castai-eks:castai": json.dumps(raw)}, ["castai-eks:castai"])

    with pytest.raises(ConfigError) as error:
        load(pulumi.Config("castai-eks"))

    assert "castai-eks:castai.cluster.name: found a str" in str(error.value)
    assert "SENTINEL" not in str(error.value)


def keys(monkeypatch, stack=None, environment=None):
    configuration = {} if stack is None else {"castai-eks:apiKey": stack}
    pulumi.runtime.set_all_config(configuration, list(configuration))
    if environment is not None:
        monkeypatch.setenv("CASTAI_API_KEY", environment)
    return api_key(pulumi.Config("castai-eks"))


def test_a_missing_key_is_none_and_has_a_sentence_with_both_ways_to_set_it(monkeypatch):
    assert keys(monkeypatch) is None
    assert missing_key(pulumi.Config("castai-eks")) == (
        "castai-eks:apiKey is not set; run `pulumi config set --secret apiKey`, "
        "or set CASTAI_API_KEY in the environment"
    )


def test_the_environments_key_comes_first(monkeypatch):
    assert keys(monkeypatch, "of-the-stack") == "of-the-stack"
    assert keys(monkeypatch, "of-the-stack", "of-the-environment") == "of-the-environment"
    assert keys(monkeypatch, "of-the-stack", "") == "of-the-stack"


@pytest.mark.parametrize("place", ["stack", "environment"])
def test_a_key_over_two_lines_is_refused_by_its_place_and_never_shown(monkeypatch, place):
    with pytest.raises(ConfigError) as error:
        keys(monkeypatch, **{place: "SENTINEL\nSENTINEL"})

    name = {"stack": "castai-eks:apiKey", "environment": "CASTAI_API_KEY"}[place]
    assert str(error.value) == (
        f"{name}: the API key holds a line break; copy it again, in one line"
    )


def test_settings_of_the_default_provider_are_named_as_without_effect():
    pulumi.runtime.set_all_config(
        {
            "castai-eks:castai": "{}",
            "castai-eks:apiKey": "SENTINEL",
            "castai-eks:cluster": "SENTINEL",
            "aws:profile": "corp-prod",
            "aws:region": "us-east-1",
            "aws:skipMetadataApiCheck": "true",
            "kubernetes:context": "prod",
            "pulumi:disable-default-providers": "[]",
            "other-project:key": "x",
        }
    )

    assert unread_settings(pulumi.Config("castai-eks")) == [
        "aws:profile is set and has no effect: set AWS_PROFILE in the environment",
        "aws:region is set and has no effect: the region is that of castai.cluster.region",
        "aws:skipMetadataApiCheck is set and has no effect: "
        "this program configures its providers itself",
        "castai-eks:cluster is set and has no effect: settings belong under castai-eks:castai",
        "kubernetes:context is set and has no effect: this program configures its providers itself",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "castai-eks:castai is not set; write cluster.name, "),
        ("SENTINEL", "castai-eks:castai: found a text; allowed: a mapping of settings"),
        ('{"api": "SENTINEL"}', "castai-eks:castai.api: found a str; allowed: a mapping"),
    ],
)
def test_an_object_that_is_none_is_a_sentence_without_its_text(monkeypatch, text, message):
    monkeypatch.setenv("CASTAI_API_URL", "https://api.eu.cast.ai")
    pulumi.runtime.set_all_config({} if text is None else {"castai-eks:castai": text})

    with pytest.raises(ConfigError) as error:
        load(pulumi.Config("castai-eks"))

    assert message in str(error.value)
    assert "SENTINEL" not in str(error.value)


def test_the_environments_address_comes_first(monkeypatch):
    monkeypatch.setenv("CASTAI_API_URL", "https://api.eu.cast.ai")
    pulumi.runtime.set_all_config({"castai-eks:castai": json.dumps({"cluster": CLUSTER})})

    assert load(pulumi.Config("castai-eks")).api.url == "https://api.eu.cast.ai"
