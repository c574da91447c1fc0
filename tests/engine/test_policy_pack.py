"""The policy pack, run by the engine with the SDK of policies on plans that pass and that fail."""

import hashlib
import json
import os
import re
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
PROGRAM = """\
import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

at_aws = pulumi.ResourceOptions(provider=aws.Provider("aws", region="eu-central-1"))
in_cluster = pulumi.ResourceOptions(provider=kubernetes.Provider("kubernetes"))
user = aws.iam.User("policy-user", name="policy-user", opts=at_aws)
aws.iam.AccessKey("policy-key", user=user.name, opts=at_aws)
# The component's own class would make it secret.
plain = {{"apiKey": "in plain"}}
pulumi.ComponentResource("castai-stack:index:AgentComponent", "policy-agent", plain)
kubernetes.apps.v1.Deployment(
    "web",
    spec={{
        "selector": {{"match_labels": {{"app": "web"}}}},
        "template": {{
            "metadata": {{"labels": {{"app": "web"}}}},
            "spec": {{"containers": [{{"name": "web", "image": "{image}"}}]}},
        }},
    }},
    opts=in_cluster,
)
"""


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


def preview(project: Project, *, fails: bool, settings: Path | None = None) -> str:
    configured = ("--policy-pack-config", str(settings)) if settings else ()
    return project.run("preview", "--policy-pack", "policy", *configured, fails=fails)


def set_(project: Project, key: str, value: str) -> None:
    project.run("config", "set", "--path", f"castai-eks:castai.{key}", value)


def mandatory(output: str) -> set[str]:
    """Names of the policies that a run was refused by."""
    return set(re.findall(r"\[mandatory\]  ([\w-]+) ", output))


def test_a_plan_of_the_program_passes_or_is_refused(project: Project):
    set_(project, "credentials.mode", "none")
    unapproved = preview(project, fails=True)
    assert mandatory(unapproved) == {"castai-connection", "castai-hand-over"}
    assert TAG in unapproved
    project.run("stack", "tag", "set", TAG, "approved")
    preview(project, fails=False)

    # With an id of its own the stack knows its documents before the first update.
    set_(project, "credentials.mode", "user")
    set_(project, "api.register", "false")
    set_(project, "api.clusterId", CLUSTER_ID)
    passing = preview(project, fails=False)
    assert "castai-eks@v0.1.0" in passing
    assert "value at .policy can't be known" not in passing, "a document was not judged"

    set_(project, "permissions", "documented")
    refused = preview(project, fails=True)
    assert mandatory(refused) == {"castai-flavour", "castai-boundary", "castai-scope"}
    assert "statement CreateLambdaFunctionRestriction reaches beyond the cluster" in refused


def test_a_plan_of_another_program_passes_or_is_refused(project: Project):
    """Keys, images and secrets: this program never plans what these rules refuse."""
    project.program(PROGRAM.format(image="nginx:1.29"))
    project.run("up", "--yes", "--skip-preview", "--target", "**policy-*")
    assert "in plain" in project.run("stack", "export")
    passing = preview(project, fails=False)
    assert "[remediate]  castai-secrets  (1 resource)" in passing

    settings = project.folder / "settings.json"
    settings.write_text(json.dumps({"castai-keys": {"days": -1}}))
    project.program(PROGRAM.format(image="nginx:latest"))
    refused = preview(project, fails=True, settings=settings)
    assert mandatory(refused) == {"castai-images", "castai-keys"}
    assert "container web: nginx:latest has no version" in refused
    assert "the key is 0 days old, allowed: -1" in refused
    project.run("destroy", "--yes", "--skip-preview")
