"""The shell steps of `deploy/`, run on one stack from its pull request to its end."""

import json
import subprocess
from pathlib import Path

import pytest
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import ConfigMap

from sandbox import castai
from sandbox.proofs.secret_search import SecretSearch
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support import workflows
from tests.support.project import clone_on_sandbox
from tests.support.workflows import Runner

pytestmark = pytest.mark.sandbox

SECRETS = {
    "secrets.CASTAI_API_KEY": castai.API_KEY,
    "secrets.PULUMI_ACCESS_TOKEN": "of-pulumi-cloud",
    "github.token": "of-the-job",
    "github.event.pull_request.number": "7",
    "matrix.stack": "prod",
    "inputs.stack": "prod",
    "vars.AWS_REGION": "eu-central-1",
    "vars.CASTAI_PREVIEW_ROLE": "reader",
    "vars.CASTAI_UP_ROLE": "operator",
}
MARKER = "<!-- castai-eks report: prod -->"
STACK_FILE = """\
config:
  pulumi:disable-default-providers: ["*"]
  castai-eks:castai:
    cluster: {name: demo, region: eu-central-1, accountId: "012345678901", kubeconfig: ambient}
    credentials: {mode: none}
"""


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def runner(sandbox: Sandbox, programs: Programs, tmp_path: Path) -> Runner:
    """A clone whose last commit merges a pull request with a new stack into the main branch."""
    project = clone_on_sandbox(tmp_path, sandbox, programs)
    project.run("stack", "init", "prod")
    folder = project.folder
    (folder / "Pulumi.prod.yaml").unlink(missing_ok=True)
    for commit in (
        ("commit", "-q", "--allow-empty", "-am", "as it is"),
        ("checkout", "-qb", "new"),
    ):
        git(folder, *commit)
    (folder / "Pulumi.prod.yaml").write_text(STACK_FILE)
    git(folder, "add", "-f", "Pulumi.prod.yaml")
    git(folder, "commit", "-qm", "a stack")
    git(folder, "checkout", "-q", "-")
    git(folder, "merge", "-q", "--no-ff", "new")
    comments = tmp_path / "comments.json"
    other = {"id": 1, "user": {"login": "somebody"}, "body": f"{MARKER} is not mine"}
    comments.write_text(json.dumps([other]))
    tools = workflows.tools(tmp_path / "tools-of-runner", comments)
    environment = {
        **{k: v for k, v in project.environment.items() if k != "CASTAI_API_KEY"},
        "GITHUB_REPOSITORY": "o/r",
    }
    environment["PATH"] = f"{tools}:{environment['PATH']}"

    def login(role: str) -> dict[str, str]:
        logged_in = dict(sandbox.environment(role))  # type: ignore[arg-type]
        return {k: v for k, v in logged_in.items() if k not in ("PATH", "CASTAI_API_KEY")}

    return Runner(folder, environment, login)


def test_a_stack_goes_from_its_pull_request_to_its_end(
    runner: Runner, sandbox: Sandbox, tmp_path: Path
):
    comments = tmp_path / "comments.json"
    # Without the key: of a contributor whose runs get no secrets.
    assert runner.github("castai-preview.yml", {**SECRETS, "secrets.CASTAI_API_KEY": ""}) == 0, (
        runner.output
    )
    foreign, own = workflows.comments(comments)
    assert own["body"].startswith(f"{MARKER}\n")
    assert "the preview had no API key" in own["body"]
    assert "the stack counts as new" in own["body"]
    assert "to create" in own["body"]
    assert own["body"] == runner.summary

    assert runner.github("castai-preview.yml", SECRETS) == 0, runner.output
    assert [one["id"] for one in workflows.comments(comments)] == [1, 2]
    assert workflows.comments(comments)[0] == foreign
    assert "had no API key" not in workflows.comments(comments)[1]["body"]

    pipeline = {
        "CASTAI_PREVIEW_ROLE": "reader",
        "CASTAI_API_KEY": castai.API_KEY,
        "CI_PROJECT_DIR": str(tmp_path / "project"),
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": "HEAD^1",
        "AWS_TOKEN": "of-the-job",
    }
    report = runner.folder / "report.md"
    before = report.read_text()
    report.unlink()
    assert runner.gitlab("castai-preview", pipeline) == 0, runner.output
    assert report.read_text() == before

    assert runner.github("castai-up.yml", SECRETS) == 0, runner.output
    assert runner.github("castai-drift.yml", SECRETS) == 0, runner.output
    path = sandbox.control_plane.kubeconfig
    with Client(config=KubeConfig.from_file(path)) as client:
        client.delete(ConfigMap, "castai-agent-autoscaler", namespace="castai-agent")
    assert runner.github("castai-drift.yml", SECRETS) != 0, runner.output
    assert "1 to create" in runner.summary

    assert runner.github("castai-destroy.yml", SECRETS) == 0, runner.output
    assert "0 leftovers" in runner.output
    texts = {"output": runner.output, "comments": comments.read_text()}
    assert SecretSearch.over(sandbox).plain(texts) == []


def test_a_refused_stack_file_fails_the_pull_request_with_a_comment(runner: Runner, tmp_path: Path):
    path = runner.folder / "Pulumi.prod.yaml"
    path.write_text(path.read_text().replace("mode: none", "mode: all"))

    assert runner.github("castai-preview.yml", SECRETS) != 0
    _, own = workflows.comments(tmp_path / "comments.json")
    assert "found 'all'; allowed: 'none', 'user' or 'role'" in own["body"]
