"""The policy pack, run by the engine with the SDK of policies on plans that pass and that fail."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import cache
from sandbox.engine.stack import REPOSITORY
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support.project import Project, clone_on_sandbox

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(not shutil.which("uv"), reason="installs the SDK of policies with uv"),
]
REQUIREMENTS = REPOSITORY / "policy" / "requirements.txt"
TAG = "castai:disconnect"
CLUSTER_ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"


def environment() -> Path:
    """Return a virtual environment with the pack's packages, made once for each list of them."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = cache.folder() / f"policy-{digest}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        python = part / "bin" / "python"
        for command in (
            ["uv", "venv", "--quiet", "--python", sys.executable, part],
            [
                "uv",
                "pip",
                "install",
                "--no-config",
                "--quiet",
                "--python",
                python,
                "-r",
                REQUIREMENTS,
            ],
        ):
            subprocess.run([str(word) for word in command], check=True)
        if not folder.exists():
            part.rename(folder)
    return folder


@pytest.fixture
def project(sandbox: Sandbox, programs: Programs, tmp_path: Path) -> Project:
    installed = environment()
    project = clone_on_sandbox(tmp_path, sandbox, programs)
    (project.folder / "policy" / "venv").symlink_to(installed)
    project.run("stack", "init", "dev")
    return project


def preview(project: Project, *, fails: bool) -> str:
    return project.run("preview", "--policy-pack", "policy", fails=fails)


def set_(project: Project, key: str, value: str) -> None:
    project.run("config", "set", "--path", f"castai-eks:castai.{key}", value)


def test_a_plan_passes_or_is_refused_by_each_rule(project: Project):
    # With an id of its own the stack knows its documents before the first update.
    set_(project, "api.register", "false")
    set_(project, "api.clusterId", CLUSTER_ID)

    unapproved = preview(project, fails=True)
    assert "[mandatory]  castai-connection " in unapproved
    assert TAG in unapproved
    assert unapproved.count("[mandatory]") == 1

    project.run("stack", "tag", "set", TAG, "approved")
    passing = preview(project, fails=False)
    assert "castai-eks@v0.1.0" in passing
    assert "value at .policy can't be known" not in passing, "a document was not judged"

    set_(project, "permissions", "documented")
    refused = preview(project, fails=True)
    for name in ("castai-flavour", "castai-boundary", "castai-scope"):
        assert f"[mandatory]  {name} " in refused
    assert "statement CreateLambdaFunctionRestriction reaches beyond the cluster" in refused
