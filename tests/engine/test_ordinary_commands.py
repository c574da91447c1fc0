"""Ordinary `pulumi` commands on the language host of the sandbox."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from sandbox.engine import program_folder, stack
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support.project import PLUGIN, Project, clone_on_sandbox

pytestmark = pytest.mark.sandbox

OUTPUTS = """
import os, sys
import pulumi
print("a line on stdout")
print("a line on stderr", file=sys.stderr)
pulumi.export("folder", os.getcwd())
pulumi.export("environment", os.environ["VIRTUAL_ENV"])
pulumi.export("plain", pulumi.Config().require("plain"))
pulumi.export("hidden", pulumi.Config().require_secret("hidden"))
"""
PROJECT = """\
name: probe
runtime:
  name: python
  options:
    toolchain: uv
    virtualenv: {virtualenv}
"""
PLUGIN_PROJECT = """\
runtime:
  name: python
  options:
    virtualenv: {virtualenv}
"""
USES_A_PLUGIN = """
import pulumi
class Thing(pulumi.CustomResource):
    def __init__(self):
        super().__init__("probe:index:Thing", "thing", {})
Thing()
"""
PYPROJECT = """\
[project]
name = "probe"
version = "0.1.0"
requires-python = ">=3.11"
"""


@pytest.fixture
def project(programs: Programs, tmp_path: Path) -> Project:
    program_folder.write(tmp_path / "bin", programs)
    (tmp_path / "pulumi" / "backend").mkdir(parents=True)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(PROJECT.format(virtualenv=sys.prefix))
    (folder / "pyproject.toml").write_text(PYPROJECT)
    result = Project(
        folder,
        {
            **os.environ,
            **stack.pulumi_environment(tmp_path),
            "PULUMI_HOME": str(tmp_path / "pulumi" / "home"),
            "UV_OFFLINE": "1",
        },
    )
    result.program(OUTPUTS)
    result.run("stack", "init", "dev")
    return result


def test_the_ordinary_commands_run_a_program_with_its_configuration(project: Project):
    project.run("config", "set", "plain", "seen")
    project.run("config", "set", "--secret", "hidden", "a-sentinel")

    output = project.run("up", "--yes", "--skip-preview")

    assert "a line on stdout" in output
    assert "a line on stderr" in output
    assert "a-sentinel" not in output
    assert json.loads(project.run("stack", "output", "--json", "--show-secrets")) == {
        "folder": str(project.folder),
        "environment": sys.prefix,
        "plain": "seen",
        "hidden": "a-sentinel",
    }
    assert "1 unchanged" in project.run("preview")
    assert "1 unchanged" in project.run("refresh", "--yes")
    assert "1 deleted" in project.run("destroy", "--yes")
    assert sys.executable in project.run("about")


@pytest.mark.parametrize(
    ("program", "expected", "repeated"),
    [
        ("import pulumi\nraise pulumi.RunError('the sentence')", "the sentence", True),
        ("raise ValueError('the reason')", "ValueError: the reason", False),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "exit code: -1", True),
    ],
    ids=["RunError", "exception", "signal"],
)
def test_a_failed_program_is_explained_once(
    project: Project, program: str, expected: str, repeated: bool
):
    project.program(program)

    output = project.run("preview", fails=True)

    assert expected in output
    assert ("program exited with non-zero exit code" in output) is repeated


def test_an_interrupt_ends_the_program(project: Project):
    project.program("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    running = project.start("up", "--yes", "--skip-preview")
    assert running.stdout is not None
    for line in running.stdout:
        if "begun" in line:
            break
    started = time.monotonic()

    # The second interrupt is the one after which the engine does not wait any more.
    running.send_signal(signal.SIGINT)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)

    assert time.monotonic() - started < 120
    deadline = time.monotonic() + 30
    while living := processes_in(project.folder):
        assert time.monotonic() < deadline, living
        time.sleep(0.1)


def processes_in(folder: Path) -> list[str]:
    result = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder:
                result.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return result


def plugin(project: Project, text: str) -> None:
    folder = project.folder / "plugin"
    folder.mkdir()
    (folder / "PulumiPlugin.yaml").write_text(PLUGIN_PROJECT.format(virtualenv=sys.prefix))
    (folder / "__main__.py").write_text(text)
    named = "plugins:\n  providers:\n    - {name: probe, path: plugin}\n"
    (project.folder / "Pulumi.yaml").write_text(PROJECT.format(virtualenv=sys.prefix) + named)
    project.program(USES_A_PLUGIN)


def test_a_plugin_that_fails_is_reported_with_its_output_and_status(project: Project):
    plugin(project, "import sys\nsys.exit(7)\n")

    assert "exit status 7" in project.run("preview", fails=True)


def test_a_debugger_is_refused(project: Project):
    output = project.run("preview", "--attach-debugger=program", fails=True)

    assert "does not attach debuggers" in output


@pytest.mark.exhaustive
def test_this_repository_runs_with_ordinary_commands(
    sandbox: Sandbox, programs: Programs, tmp_path: Path
):
    project = clone_on_sandbox(tmp_path, sandbox, programs)
    project.run("stack", "init", "dev")

    assert shutil.which(PLUGIN, path=project.environment["PATH"]) is None
    assert "to create" in project.run("preview")
    assert "created" in project.run("up", "--yes", "--skip-preview")
    assert json.loads(project.run("stack", "output", "--json"))
    assert "unchanged" in project.run("preview", "--expect-no-changes")
    assert "unchanged" in project.run("refresh", "--yes", "--expect-no-changes")
    assert "deleted" in project.run("destroy", "--yes")


def test_the_plugin_of_the_project_comes_before_one_on_the_path(
    sandbox: Sandbox, programs: Programs, tmp_path: Path
):
    """The state keeps the plugin's version only: a refresh without the program finds it too."""
    project = clone_on_sandbox(tmp_path, sandbox, programs)
    other = tmp_path / "bin" / PLUGIN
    other.write_text("#!/bin/sh\necho 'it is the other one' >&2\nexit 7\n")
    other.chmod(0o755)
    project.run("stack", "init", "dev")

    assert "to create" in project.run("preview")
