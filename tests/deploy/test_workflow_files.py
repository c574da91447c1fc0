"""The workflows of `deploy/`, read by the parsers of their services."""

import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml
from check_jsonschema import builtin_schemas
from ruamel.yaml import YAML

from castai_stack.config import stack_file
from castai_stack.config.validation import validate
from tests.support import workflows
from tests.support.workflows import DEPLOY, load

GITHUB = sorted((DEPLOY / "github").glob("*.yml"))
WRITES = {"castai-up.yml", "castai-fleet.yml", "castai-destroy.yml"}
COMMAND = re.compile(r"pulumi (?:up|destroy|preview) [^>|\n]*?--non-interactive")


def commands(text: str) -> set[str]:
    return {" ".join(result.split()) for result in COMMAND.findall(text)}


@pytest.mark.skipif(not shutil.which("go"), reason="actionlint is built with go")
def test_actionlint_accepts_every_workflow_and_refuses_a_broken_one(tmp_path: Path):
    assert len(GITHUB) == 5
    accepted = workflows.actionlint(*GITHUB)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr

    broken = tmp_path / "broken.yml"
    broken.write_text(GITHUB[-1].read_text().replace("matrix.stack", "matrix.stock"))
    assert workflows.actionlint(broken).returncode == 1


def test_gitlabs_own_schema_accepts_the_jobs():
    schema = builtin_schemas.get_builtin_schema("vendor.gitlab-ci")
    text = (DEPLOY / "gitlab" / "castai.gitlab-ci.yml").read_text()

    jsonschema.Draft7Validator(schema).validate(YAML(typ="safe").load(text))


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_a_workflow_has_no_permission_but_those_that_its_job_names(path: Path):
    workflow = load(f"github/{path.name}")
    (job,) = workflow["jobs"].values()

    assert workflow["permissions"] == {}
    written = {name for name, kind in job["permissions"].items() if kind == "write"}
    comments = {"pull-requests"} if path.name == "castai-preview.yml" else set()
    assert written == {"id-token", *comments}
    assert ("environment" in job) is (path.name in WRITES)


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_only_a_workflow_behind_an_environment_gets_the_role_that_writes(path: Path):
    role = "vars.CASTAI_UP_ROLE" if path.name in WRITES else "vars.CASTAI_PREVIEW_ROLE"
    if path.name == "castai-fleet.yml":
        role = "matrix.role"

    assert re.findall(r"role-to-assume: \$\{\{ (\S+) \}\}", path.read_text()) == [role]


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_no_foreign_text_is_put_into_a_script(path: Path):
    """An expression inside `run` would let a branch name or a title run commands."""
    (job,) = load(f"github/{path.name}")["jobs"].values()

    assert [s["run"] for s in job["steps"] if "${{" in s.get("run", "")] == []


def test_both_services_run_the_same_commands():
    github = commands("\n".join(path.read_text() for path in GITHUB))
    gitlab = commands((DEPLOY / "gitlab" / "castai.gitlab-ci.yml").read_text())

    # GitLab has no page for a summary: the drift goes to the job's log.
    assert {
        one.replace("--json", "--diff") if "--refresh" in one else one for one in github
    } == gitlab


def test_the_fleet_runs_what_one_cluster_runs():
    (one,), (many,) = (load(f"github/castai-{n}.yml")["jobs"].values() for n in ("up", "fleet"))

    assert many["steps"][-1] == one["steps"][-1]
    assert many["concurrency"] == one["concurrency"]


def test_the_operators_files_fit_together_and_destroy_nothing():
    text = (DEPLOY / "kubernetes-operator" / "castai-prod.yaml").read_text()
    account, binding, stack = yaml.safe_load_all(text)

    name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert stack["metadata"]["namespace"] == namespace
    assert stack["spec"]["serviceAccountName"] == name
    assert stack["spec"]["destroyOnFinalize"] is False


def test_the_shared_settings_complete_a_stack_file():
    shared = yaml.safe_load((DEPLOY / "esc" / "castai-defaults.yaml").read_text())
    settings = shared["values"]["pulumiConfig"][stack_file.KEY]
    own = {"cluster": {"name": "p", "region": "eu-west-1", "accountId": "012345678901"}}

    assert validate({**settings, **own}, stack_file.KEY).names == "regional"
