import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.language_host import __main__ as language_host
from sandbox.language_host.environment import Environment, HostError


def environment(root: Path, **options: object) -> Environment:
    return Environment.of(str(root), options)


@pytest.fixture
def virtualenv(tmp_path: Path) -> Path:
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tmp_path / "environment"


@pytest.fixture
def uv_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `uv` on PATH that records its arguments, folder and target."""
    record = tmp_path / "uv-calls"
    program = tmp_path / "programs" / "uv"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@ in $PWD into $UV_PROJECT_ENVIRONMENT" >> {record}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return record


def test_uv_updates_the_environment_before_each_command(
    tmp_path: Path, virtualenv: Path, uv_calls: Path
):
    (tmp_path / "pyproject.toml").touch()

    command = environment(tmp_path, toolchain="uv", virtualenv="environment").command("-c", "1")

    assert uv_calls.read_text() == f"sync --inexact in {tmp_path} into {virtualenv}\n"
    assert command.arguments == [str(virtualenv / "bin" / "python"), "-c", "1"]
    assert command.folder == tmp_path


def test_uv_without_a_project_file_updates_nothing(tmp_path: Path, uv_calls: Path):
    environment(tmp_path, toolchain="uv", virtualenv="environment").command("-c", "1")

    assert not uv_calls.exists()


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml"])
def test_uv_puts_the_environment_beside_the_nearest_project_file(tmp_path: Path, name: str):
    (tmp_path / name).touch()

    assert environment(tmp_path / "a" / "b", toolchain="uv").virtualenv == tmp_path / ".venv"


def test_a_failed_uv_is_reported_with_its_own_words(
    tmp_path: Path, virtualenv: Path, uv_calls: Path
):
    del virtualenv
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "programs" / "uv").write_text("#!/bin/sh\necho no such index >&2\nexit 2\n")

    with pytest.raises(HostError, match=r"error creating virtual environment.*no such index"):
        environment(tmp_path, toolchain="uv", virtualenv="environment").command("-c", "1")
    assert not uv_calls.exists()


def test_a_virtual_environment_is_activated(tmp_path: Path, virtualenv: Path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/of/another/python")
    monkeypatch.setenv("PATH", "/usr/bin")

    command = environment(tmp_path, virtualenv="environment").command("-c", "1")

    assert command.environment["VIRTUAL_ENV"] == str(virtualenv)
    assert command.environment["PATH"] == f"{virtualenv / 'bin'}:/usr/bin"
    assert "PYTHONHOME" not in command.environment


def test_without_a_virtual_environment_the_named_python_runs(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PULUMI_PYTHON_CMD", sys.executable)

    assert environment(tmp_path).command("x").arguments == [sys.executable, "x"]

    monkeypatch.setenv("PULUMI_PYTHON_CMD", "no-such-python")
    with pytest.raises(HostError, match="no no-such-python on PATH"):
        environment(tmp_path).command("x")


@pytest.mark.parametrize(
    ("options", "named"),
    [({"toolchain": "poetry"}, "poetry"), ({"typechecker": "mypy"}, "typechecker")],
)
def test_options_of_the_real_host_that_are_not_carried_out_are_refused(tmp_path, options, named):
    with pytest.raises(HostError, match=named):
        environment(tmp_path, **options)


def test_a_missing_virtual_environment_is_created_and_filled(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PULUMI_PYTHON_CMD", sys.executable)
    (tmp_path / "requirements.txt").touch()

    commands = environment(tmp_path, virtualenv="new").installation(tmp_path)

    python = str(tmp_path / "new" / "bin" / "python")
    assert [command.arguments for command in commands] == [
        [sys.executable, "-m", "venv", str(tmp_path / "new")],
        [python, "-m", "pip", "install", "--upgrade", "pip", "setuptools", "wheel"],
        [python, "-m", "pip", "install", "-r", "requirements.txt"],
    ]
    with pytest.raises(HostError, match="pulumi install"):
        environment(tmp_path, virtualenv="new").require()


def test_packages_are_listed_with_their_plugins(tmp_path: Path):
    packages = {one.name: one for one in environment(tmp_path, virtualenv=sys.prefix).packages()}

    plugin = packages["pulumi_kubernetes"].plugin
    assert plugin is not None
    assert (plugin["name"], plugin["resource"]) == ("kubernetes", True)
    assert packages["pulumi"].plugin is None
    assert "grpcio" in packages["pulumi"].requires


def test_flags_of_older_engines_begin_with_one_dash():
    """The host of YAML programs is built with such an engine, and starts plugins by itself."""
    given = ["--use-executor", "x", "-toolchain=uv", "-root=/a", "-virtualenv=.venv", "127.0.0.1:1"]

    options = language_host._parser().parse_args(given)
    assert (options.toolchain, options.root, options.engine) == ("uv", "/a", "127.0.0.1:1")


def test_an_unknown_flag_ends_the_host():
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.language_host", "--use-executor", "x", "--strange"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "--strange" in done.stderr
