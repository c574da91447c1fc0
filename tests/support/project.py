"""A folder with a Pulumi project, and the ordinary `pulumi` command in it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sandbox.engine import program_folder, stack
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support.clone import clone_repository, idle_uv

PLUGIN = "pulumi-resource-castai-stack"


@dataclass
class Project:
    """A project with a backend of its own, as a user has one."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, fails: bool = False) -> str:
        done = self.start(*arguments)
        output = done.communicate(timeout=600)[0]
        assert (done.returncode != 0) is fails, output
        return output

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["pulumi", "--non-interactive", "--color", "never", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def program(self, text: str) -> None:
        (self.folder / "__main__.py").write_text(text)


def clone_on_sandbox(folder: Path, sandbox: Sandbox, programs: Programs) -> Project:
    """Return a fresh clone of this repository, led to the sandbox, with a backend of its own.

    No plugin of this repository is on PATH: the engine has only what `Pulumi.yaml` names.
    """
    clone = clone_repository(folder / "clone")
    (program_folder.write(folder / "bin", programs) / PLUGIN).unlink()
    (folder / "pulumi" / "backend").mkdir(parents=True)
    environment = {
        **os.environ,
        **stack.pulumi_environment(folder),
        "PYTHONPATH": str(clone),
        "PULUMI_HOME": str(folder / "pulumi" / "home"),
        **sandbox.environment(),
    }
    # A real `uv sync` would take the tools of the tests out of their environment.
    environment["PATH"] = f"{idle_uv(folder / 'tools')}{os.pathsep}{environment['PATH']}"
    return Project(clone, environment)
