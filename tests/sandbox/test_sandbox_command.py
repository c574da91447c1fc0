import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import __main__
from sandbox.engine.stack import REPOSITORY

COMMANDS = ["start", "stop", "env", "preview", "up", "refresh", "destroy", "export"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = __main__.main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    for name in COMMANDS:
        assert f"\n    {name} " in done.stdout, f"{name} is not listed"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str):
    status, output, _ = run(capsys, name, "--help")

    assert status == 0
    assert "--state DIR" in output
    assert "--own-toolchain" in output


@pytest.mark.parametrize("name", COMMANDS[2:])
def test_commands_on_the_stack_take_a_file_and_overrides(
    capsys: pytest.CaptureFixture[str], name: str
):
    _, output, _ = run(capsys, name, "--help")

    assert "--stack-file FILE" in output
    assert "--set KEY=VALUE" in output


def test_nothing_to_stop_is_no_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    status, output, _ = run(capsys, "stop", "--state", str(tmp_path / "none"))

    assert status == 0
    assert "nothing runs" in output
    assert not (tmp_path / "none").exists(), "stop must not make a state folder"


def test_an_unusable_state_folder_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "file").write_text("")

    status, _, error = run(capsys, "start", "--state", str(tmp_path / "file"))

    assert status == 1
    assert "choose another" in error
    assert "--state" in error


def test_an_unknown_command_and_no_command_are_refused(capsys: pytest.CaptureFixture[str]):
    for arguments in ([], ["dance"]):
        status, _, error = run(capsys, *arguments)
        assert status == 2
        assert "usage:" in error
