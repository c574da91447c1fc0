from pathlib import Path

import pytest
import yaml

from sandbox.engine.stack_file import CONFIG_KEY, StackFileError, render

TEXT = """\
# a comment
encryptionsalt: v1:abc
config:
  castai-eks:apiKey:
    secure: v1:xyz
  castai-eks:castai:
    cluster: {name: demo, accountId: "012345678901"}
    credentials:
      mode: user
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(TEXT)
    return path


def settings(source: Path, *overrides: str) -> dict:
    return yaml.safe_load(render(source, overrides))["config"][CONFIG_KEY]


def test_without_overrides_the_copy_is_the_file(source: Path):
    assert render(source, []) == TEXT


def test_an_override_changes_one_setting_of_the_copy_only(source: Path):
    changed = yaml.safe_load(render(source, ["credentials.mode=role"]))
    expected = yaml.safe_load(TEXT)
    expected["config"][CONFIG_KEY]["credentials"]["mode"] = "role"

    assert changed == expected
    assert source.read_text() == TEXT, "the stack file itself must not be written"


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("spot.enabled=false", ("spot", "enabled"), False),
        ("agent.replicas=3", ("agent", "replicas"), 3),
        ("names=documented", ("names",), "documented"),
        ("iam.path=/team/", ("iam", "path"), "/team/"),
        ("cluster.context=null", ("cluster", "context"), None),
        ("access.userGroups=[a, b]", ("access", "userGroups"), ["a", "b"]),
        ('tags["cost.centre/x"]=42a', ("tags", "cost.centre/x"), "42a"),
        ("access.userGroups[0]=a", ("access", "userGroups"), ["a"]),
        ("tags.since=2026-01-01", ("tags", "since"), "2026-01-01"),
        ("tags.formula=a=b", ("tags", "formula"), "a=b"),
        ("agent.tag=", ("agent", "tag"), None),
    ],
)
def test_values_are_yaml_and_keys_are_paths(source: Path, override: str, path: tuple, value):
    result = settings(source, override)
    for step in path:
        result = result[step]

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("account", ["012345678901", "012345670123", "123456789012"])
def test_an_account_id_stays_text(source: Path, account: str):
    text = render(source, [f"cluster.accountId={account}"])

    assert settings(source, f"cluster.accountId={account}")["cluster"]["accountId"] == account
    assert f'"{account}"' in text, "unquoted, another reader would take it for a number"


def test_a_file_without_our_object_gets_one(tmp_path: Path):
    path = tmp_path / "Pulumi.other.yaml"
    path.write_text("")

    assert settings(path, "cluster.name=x") == {"cluster": {"name": "x"}}


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("credentials.mode", "write KEY=VALUE"),
        ("=role", "write KEY=VALUE"),
        ("a[=1", "cannot read the key"),
        ("credentials.mode.deeper=1", "does not fit"),
        ("credentials[0]=1", "does not fit"),
        ("a={", "the value is not YAML"),
    ],
)
def test_a_bad_override_is_told_by_its_own_text(source: Path, override: str, messages: str):
    with pytest.raises(StackFileError, match=messages) as refused:
        render(source, [override])

    assert override.partition("=")[0].rstrip("=") in str(refused.value)


@pytest.mark.parametrize(
    ("content", "messages"),
    [("a: [", "is not YAML"), ("- 1", "is no stack file"), ("config: 3", "is no stack file")],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: str, messages: str):
    path = tmp_path / "Pulumi.bad.yaml"
    path.write_text(content)

    with pytest.raises(StackFileError, match=messages) as refused:
        render(path, ["a=1"])

    assert str(path) in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(StackFileError, match="No such file"):
        render(tmp_path / "Pulumi.none.yaml", [])
