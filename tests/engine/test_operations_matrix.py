"""Every operation of the ordinary `pulumi` command, in both credential modes, on one stack each.

The tests run in their order: each starts from the stack that the one before has left. A preview
follows each operation and shows no change.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sandbox import inventory
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support.project import Project, clone_on_sandbox

pytestmark = pytest.mark.sandbox

CASTAI = "castai-eks:castai"
CHANGING = ("--yes", "--skip-preview")
VALUES = {
    "cluster.accountId": ("012345678901", "012345678901"),
    "agent.replicas": ("3", 3),
    "spot.enabled": ("false", False),
    "agent.cpuRequest": ("200m", "200m"),
    "iam.autoScalingGroupNames[0]": ("nodes-a", "nodes-a"),
    'agent.labels["example.com/team"]': ("platform", "platform"),
}
"""Settings of every type as `config set --path` takes them, and as the stack file holds them."""
ENGINE_ERROR = "error: an unhandled error occurred: program exited with non-zero exit code: 1"


@dataclass
class Matrix:
    """The stack of one mode, in a clone of its own."""

    project: Project

    def run(self, *arguments: str, fails: bool = False) -> str:
        output = self.project.run(*arguments, fails=fails)
        assert "Traceback" not in output
        return output

    def change(self, *arguments: str) -> str:
        """Run an operation that writes, and see that a preview has nothing to add."""
        output = self.run(*arguments, *CHANGING)
        self.require_settled()
        return output

    def require_settled(self) -> None:
        self.run("preview", "--expect-no-changes")

    def set(self, key: str, value: str, *options: str) -> None:
        self.run("config", "set", *options, "--path", f"{CASTAI}.{key}", "--", value)

    def unset(self, key: str) -> None:
        self.run("config", "rm", "--path", f"{CASTAI}.{key}")

    @property
    def stack_file(self) -> Path:
        return self.project.folder / "Pulumi.matrix.yaml"

    def settings(self) -> dict:
        return yaml.safe_load(self.stack_file.read_text())["config"][CASTAI]

    def resources(self) -> dict[str, dict]:
        """Return the resources of the state by their names."""
        state = json.loads(self.run("stack", "export"))["deployment"].get("resources", [])
        return {one["urn"].rpartition("::")[2]: one for one in state}

    def urn(self, name: str) -> str:
        return self.resources()[name]["urn"]


@pytest.fixture(scope="module", params=["user", pytest.param("role", marks=pytest.mark.exhaustive)])
def matrix(
    sandbox: Sandbox,
    programs: Programs,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Matrix]:
    before = inventory.aws(sandbox.aws_url)
    folder = tmp_path_factory.mktemp(request.param)
    project = clone_on_sandbox(folder, sandbox, programs)
    matrix = Matrix(project)
    matrix.stack_file.write_text((project.folder / "Pulumi.dev.yaml").read_text())
    project.run("stack", "init", "matrix")
    matrix.set("credentials.mode", request.param)
    yield matrix
    project.run("destroy", *CHANGING)
    left = inventory.differences(before, inventory.aws(sandbox.aws_url))
    assert not left, [str(one) for one in left]


def test_previews_show_the_plan_before_anything_is_there(matrix: Matrix):
    plan = matrix.run("preview")
    properties = matrix.run("preview", "--diff")
    document = matrix.run("preview", "--json")

    assert "to create" in plan
    assert (
        "[urn=urn:pulumi:matrix::castai-eks::castai-stack:index:HandOver::hand-over]" in properties
    )
    parsed, _ = json.JSONDecoder().raw_decode(document[document.index("{\n") :])
    assert parsed["changeSummary"]["create"] > 60
    assert parsed["config"]["castai-eks:apiKey"] == "[secret]"


@pytest.mark.parametrize(
    "arguments",
    [("up",), ("up", "--refresh"), ("refresh",), ("refresh", "--run-program")],
    ids=" ".join,
)
def test_nothing_is_left_to_change_after(matrix: Matrix, arguments: tuple[str, ...]):
    output = matrix.change(*arguments)

    assert ("created" in output) is (arguments == ("up",))
    assert "changed" not in output.replace("unchanged", "")


def test_a_target_changes_one_resource_and_the_next_up_the_rest(matrix: Matrix):
    matrix.set("agent.cpuRequest", "200m")
    output = matrix.run("up", *CHANGING, "--target", matrix.urn("agent-deployment"))
    assert "1 updated" in output
    rest = matrix.run("preview")

    assert "1 to update" in rest, "the gate that waits for the pods is left"
    assert "1 updated" in matrix.change("up")


def test_an_exclusion_leaves_one_resource_for_the_next_up(matrix: Matrix):
    matrix.unset("agent")
    output = matrix.run("up", *CHANGING, "--exclude", matrix.urn("agent-rollout"))
    assert "1 updated" in output

    assert "1 updated" in matrix.change("up")


def test_an_object_that_the_state_lost_is_imported(matrix: Matrix):
    resources = matrix.resources()
    alarm, spot = resources["spot-lost-alarm"], resources["spot"]
    # The hand-over, its gate and the node configuration depend on everything.
    matrix.run("state", "delete", "--yes", "--target-dependents", alarm["urn"])

    matrix.run(
        *("import", "aws:cloudwatch/metricAlarm:MetricAlarm", "spot-lost-alarm", alarm["id"]),
        *("--parent", f"spot={spot['urn']}", "--provider", f"aws={resources['aws']['urn']}"),
        *("--protect=false", "--generate-code=false", *CHANGING),
    )

    output = matrix.change("up")
    assert "3 created" in output
    assert "updated" not in output
    assert matrix.resources()["spot-lost-alarm"]["id"] == alarm["id"]


def test_a_resource_of_the_plugin_is_not_imported(matrix: Matrix):
    provider = matrix.urn("castai")
    output = matrix.run(
        *("import", "castai-stack:index:ClusterToken", "imported", "an-id", *CHANGING),
        *("--provider", f"castai={provider}", "--generate-code=false"),
        fails=True,
    )

    assert "ClusterToken is not imported: `pulumi up` creates it" in output
    assert "imported" not in matrix.resources()


def test_a_renamed_stack_has_the_same_resources(matrix: Matrix):
    before = {name: one.get("id") for name, one in matrix.resources().items()}
    for name in ("other", "matrix"):
        matrix.run("stack", "rename", name)

        matrix.require_settled()

    after = {name: one.get("id") for name, one in matrix.resources().items()}
    assert after == before


def test_values_of_every_type_are_set_by_path(matrix: Matrix):
    before = matrix.settings()
    for key, (value, _) in VALUES.items():
        matrix.set(key, value)
    settings = matrix.settings()
    preview = matrix.run("preview")

    for key, (value, stored) in VALUES.items():
        assert matrix.run("config", "get", "--path", f"{CASTAI}.{key}").strip() == value
        section, _, name = key.partition(".")
        name = name.partition("[")[0]
        assert stored in nested(settings[section][name]), f"{key} has another type"
    assert "to update" in preview
    assert "to delete" in preview, "the Spot function goes"
    for section in ("agent", "spot", "iam"):
        matrix.unset(section)
    assert matrix.settings() == before
    matrix.require_settled()


def nested(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def test_a_secret_setting_stays_secret_in_an_error(matrix: Matrix):
    matrix.set("agent.replicas", "a-sentinel", "--secret")

    output = matrix.run("preview", fails=True)

    assert f"{CASTAI}.agent.replicas: found a str; allowed: a whole number" in output
    assert "a-sentinel" not in output
    matrix.unset("agent")


@pytest.mark.parametrize(
    ("key", "value", "sentence", "of_the_engine"),
    [
        ("agent.replicas", "zero", "found 'zero'; allowed: a whole number", [ENGINE_ERROR]),
        ("credentials.mode", "none", "set api.allowDisconnect to true", []),
    ],
    ids=["of the program", "of the plugin"],
)
def test_an_error_is_one_sentence_with_an_exit_status(
    matrix: Matrix, key: str, value: str, sentence: str, of_the_engine: list[str]
):
    before = matrix.stack_file.read_text()
    matrix.set(key, value)
    try:
        running = matrix.project.start("preview")
        output = running.communicate(timeout=300)[0]
    finally:
        matrix.stack_file.write_text(before)

    assert running.returncode == 1
    errors = output.partition("Diagnostics:")[2].partition("Resources:")[0]
    assert errors.count(sentence) == 1
    assert re.findall("error: an unhandled error.*", errors) == of_the_engine
    assert "Traceback" not in output


def test_a_destroy_that_runs_the_program_removes_everything(matrix: Matrix):
    assert "deleted" in matrix.run("destroy", "--run-program", *CHANGING)
    assert list(matrix.resources()) == []

    assert "created" in matrix.change("up")


def test_a_destroy_removes_everything(matrix: Matrix):
    assert "deleted" in matrix.run("destroy", *CHANGING)

    assert list(matrix.resources()) == []
    assert "to create" in matrix.run("preview")
