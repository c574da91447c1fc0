import json

import pytest
import yaml

from castai_stack.config.stack_file import read
from castai_stack.config.validation import SettingsError


def written(tmp_path, text):
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(text)
    return path


def test_settings_come_out_of_a_stack_file(tmp_path):
    path = written(
        tmp_path,
        'config:\n  castai-eks:castai:\n    cluster: {name: demo, region: eu-central-1, accountId: "012345678901"}\n',
    )

    assert read(path).cluster.account_id == "012345678901"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config: {", "not YAML in line 1; correct it, or name another file"),
        ("config: {}", "there is no castai-eks:castai under config"),
        ("- 1", "there is no castai-eks:castai under config"),
        ("config: {castai-eks:castai: {}}", "castai-eks:castai.cluster: required, and not given"),
    ],
)
def test_another_file_than_a_stack_file_is_named(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        read(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"Pulumi.none.yaml: No such file or directory"):
        read(tmp_path / "Pulumi.none.yaml")


def test_a_binary_file_is_named(tmp_path):
    path = tmp_path / "Pulumi.x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        SettingsError, match=r"Pulumi.x.yaml: not a text file in UTF-8; name a stack file"
    ):
        read(path)


CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
ENCRYPTED = {"secure": "v1:AAAA:BBBB"}


def stack(tmp_path, value):
    return written(tmp_path, yaml.safe_dump({"config": {"castai-eks:castai": value}}))


def test_the_object_may_be_a_json_text_as_config_set_stores_it(tmp_path):
    assert read(stack(tmp_path, json.dumps({"cluster": CLUSTER}))).cluster.name == "demo"
    with pytest.raises(SettingsError, match="is a text that is not JSON; write a mapping"):
        read(stack(tmp_path, "{"))


@pytest.mark.parametrize(
    "form", [{"value": {"cluster": CLUSTER}}, {"default": {"cluster": CLUSTER}}]
)
@pytest.mark.parametrize("key", ["castai-eks:castai", "castai"])
def test_the_object_may_come_from_the_project_file(tmp_path, form, key):
    path = written(tmp_path, "config: {}")
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump({"config": {key: form}}))

    assert read(path).cluster.name == "demo"


def test_the_stack_file_wins_over_the_project_file(tmp_path):
    path = stack(tmp_path, {"cluster": {**CLUSTER, "name": "own"}})
    (tmp_path / "Pulumi.yaml").write_text(
        yaml.safe_dump({"config": {"castai-eks:castai": {"value": {"cluster": CLUSTER}}}})
    )

    assert read(path).cluster.name == "own"


def test_an_encrypted_value_is_accepted_where_it_is_not_used(tmp_path):
    agent = {"trustedCaCertificate": ENCRYPTED, "replicas": 3}
    path = stack(tmp_path, {"cluster": CLUSTER, "agent": agent})

    settings = read(path, unused={"agent"})

    assert (settings.agent.trusted_ca_certificate, settings.agent.replicas) == (None, 3)


def test_an_encrypted_item_of_a_list_is_accepted_where_it_is_not_used(tmp_path):
    agent = {"tolerations": [ENCRYPTED, {"key": "a", "operator": "Exists"}]}
    path = stack(tmp_path, {"cluster": CLUSTER, "agent": agent})

    (toleration,) = read(path, unused={"agent"}).agent.tolerations

    assert toleration["key"] == "a"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (ENCRYPTED, "castai-eks:castai"),
        ({"cluster": {**CLUSTER, "name": ENCRYPTED}}, "castai-eks:castai.cluster.name"),
        (
            {"cluster": CLUSTER, "iam": {"kmsKeyArns": [ENCRYPTED]}},
            "castai-eks:castai.iam.kmsKeyArns.0",
        ),
    ],
)
def test_an_encrypted_value_is_named_where_it_is_used(tmp_path, value, place):
    with pytest.raises(SettingsError) as caught:
        read(stack(tmp_path, value), unused={"agent"})

    assert f"encrypted, and this command reads no secret:\n  {place}\n" in str(caught.value)
    assert "AAAA" not in str(caught.value)
