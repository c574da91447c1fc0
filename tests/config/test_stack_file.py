import pytest

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
        ("config: {", "not YAML in line 1; mend it, or name another file"),
        ("config: {}", "there is no castai-eks:castai under config"),
        ("- 1", "there is no castai-eks:castai under config"),
        ("config: {castai-eks:castai: {}}", "castai-eks:castai.cluster: required, and not given"),
    ],
)
def test_what_is_no_stack_file_is_told(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        read(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"Pulumi.none.yaml: No such file or directory"):
        read(tmp_path / "Pulumi.none.yaml")


def test_what_is_no_text_is_told(tmp_path):
    path = tmp_path / "Pulumi.x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"Pulumi.x.yaml: not a text file; name a stack file"):
        read(path)
