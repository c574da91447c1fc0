"""A fresh clone of this repository with the files as they are now, and tools of its user."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sandbox.engine.stack import REPOSITORY

_OF_THE_USER = ("AWS_", "PULUMI_", "CASTAI_", "KUBE")


def clone_repository(folder: Path) -> Path:
    """Clone into `folder`; its virtual environment is the one of the tests."""
    subprocess.run(["git", "clone", "-q", REPOSITORY, folder], check=True)
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def idle_uv(folder: Path) -> Path:
    """Write a `uv` that changes nothing into `folder`: the packages are those of the tests."""
    program = folder / "uv"
    folder.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    return folder


def user_environment(programs: Path) -> dict[str, str]:
    """Return an environment without clouds, a Python path or a virtual environment.

    `programs` comes first on PATH.
    """
    remaining = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OF_THE_USER) and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return {**remaining, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
