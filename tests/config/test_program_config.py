import json

import pulumi
import pytest

from castai_stack.config.program import ConfigError, api_key, load

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


def test_a_missing_key_says_both_ways_to_give_it():
    pulumi.runtime.set_all_config({})

    with pytest.raises(ConfigError) as error:
        api_key(pulumi.Config("castai-eks"))

    assert str(error.value) == (
        "castai-eks:apiKey is not set; run `pulumi config set --secret apiKey`, "
        "or set CASTAI_API_KEY in the environment"
    )


def test_the_environments_address_comes_first(monkeypatch):
    monkeypatch.setenv("CASTAI_API_URL", "https://api.eu.cast.ai")
    pulumi.runtime.set_all_config({"castai-eks:castai": json.dumps({"cluster": CLUSTER})})

    assert load(pulumi.Config("castai-eks")).api.url == "https://api.eu.cast.ai"
