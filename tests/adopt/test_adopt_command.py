"""The command writes all files or none, and says why."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from castai_stack.__main__ import main
from castai_stack.adopt import reading
from castai_stack.adopt.observations import Observations
from castai_stack.commands.aws_clients import AwsError
from castai_stack.config import stack_file
from sandbox.sources import installers
from tests.support import footprints
from tests.support.footprints import ACCOUNT, REGION

ARGUMENTS = ["adopt", "--cluster", "prod", "--region", REGION, "--account-id", ACCOUNT]


@pytest.fixture
def observations(monkeypatch: pytest.MonkeyPatch) -> Observations:
    """Answers of a cluster that the script connected in role mode."""
    answers = footprints.observed(installers.script_with_role(footprints.source_place()))
    monkeypatch.setenv("CASTAI_API_KEY", "SENTINEL")
    monkeypatch.setattr(reading, "observe", lambda *_: answers)
    return answers


@pytest.mark.usefixtures("observations")
def test_it_writes_a_stack_file_that_the_program_reads(tmp_path: Path, capsys):
    assert main([*ARGUMENTS, "--into", str(tmp_path / "new"), "--stack", "prod"]) == 0

    settings = stack_file.read(tmp_path / "new" / "Pulumi.prod.yaml")
    assert settings.cluster.account_id == ACCOUNT
    assert settings.adoption.imports["iam-role"] == "cast-eks-prod-cluster-role-0f3f1ba4"
    report = (tmp_path / "new" / "adopt-prod.md").read_text()
    assert "| shared policy | CastEKSPolicy | left |" in report
    out = capsys.readouterr().out
    assert "AWS objects to import; wrote" in out
    assert "SENTINEL" not in out + report


@pytest.mark.usefixtures("observations")
def test_without_a_folder_it_only_says_what_it_found(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, "--format", "json"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert {"objects", "settings", "steps", "before", "commands"} == set(answer)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("observations")
def test_an_existing_file_is_never_overwritten(tmp_path: Path, capsys):
    (tmp_path / "adopt-prod.md").write_text("mine")

    assert main([*ARGUMENTS, "--into", str(tmp_path), "--stack", "prod"]) == 1
    assert "adopt-prod.md exists, nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["adopt-prod.md"]


def test_every_problem_is_said_at_once_and_nothing_is_written(
    observations: Observations, tmp_path: Path, capsys, monkeypatch
):
    (role,) = observations.aws.principals
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}}]}
    in_aws = replace(
        observations.aws,
        principals=(replace(role, trust=trust),),
        node_roles=observations.aws.node_roles * 2,
    )
    monkeypatch.setattr(reading, "observe", lambda *_: replace(observations, aws=in_aws))

    assert main([*ARGUMENTS, "--into", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "trusts *" in errors
    assert "choose with --node-role" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("observations")
def test_a_question_that_is_refused_ends_the_command(tmp_path: Path, capsys, monkeypatch):
    def refuse(*_):
        raise AwsError("role theirs: AWS answers AccessDenied: no")

    monkeypatch.setattr(reading, "observe", refuse)
    assert main([*ARGUMENTS, "--into", str(tmp_path)]) == 2
    assert "role theirs: AWS answers AccessDenied" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_a_key_of_castai_nothing_is_asked(monkeypatch, capsys):
    monkeypatch.delenv("CASTAI_API_KEY", raising=False)
    assert main(ARGUMENTS) == 2
    assert "set CASTAI_API_KEY" in capsys.readouterr().err


@pytest.mark.usefixtures("observations")
def test_a_write_that_fails_leaves_no_file(tmp_path: Path, capsys, monkeypatch):
    written = Path.write_text

    def fail(path: Path, text: str) -> None:
        written(path, text[:10])
        if path.suffix == ".md":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    assert main([*ARGUMENTS, "--into", str(tmp_path)]) == 2
    assert f"{tmp_path}: No space left on device; choose" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--region", "nowhere"], "cluster.region: found 'nowhere'; allowed:"),
        (["--account-id", "12"], "cluster.accountId: found '12'; allowed:"),
        (["--cluster", "pr od"], "cluster.name: found 'pr od'; allowed:"),
        (["--context", "mine"], "cluster.context: given while cluster.kubeconfig is from-eks"),
        (["--stack", "../prod"], "--stack: found '../prod'; allowed:"),
        (["--stack", ""], "--stack: found ''; allowed:"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_asked(
    arguments: list[str], sentence: str, capsys, monkeypatch
):
    monkeypatch.setenv("CASTAI_API_KEY", "SENTINEL")
    monkeypatch.setattr(reading, "observe", lambda *_: pytest.fail("something was asked"))

    assert main([*ARGUMENTS, *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_values_that_no_stack_file_can_have_are_a_sentence(
    observations: Observations, tmp_path: Path, capsys, monkeypatch
):
    (role,) = observations.aws.node_roles
    in_aws = replace(observations.aws, node_roles=(replace(role, name="no des"),))
    monkeypatch.setattr(reading, "observe", lambda *_: replace(observations, aws=in_aws))

    assert main([*ARGUMENTS, "--into", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "what was found makes no valid stack file" in errors
    assert "physicalNames.nodeRole: found 'no des'" in errors
    assert not list(tmp_path.iterdir())
