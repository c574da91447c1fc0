import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import SANDBOX_VARIABLE
from sandbox.engine import program_folder
from sandbox.engine.stack import OperationError, Stack
from sandbox.toolchain import Programs

pytestmark = pytest.mark.sandbox

STACK_FILE = """\
config:
  castai-eks:apiKey: not-a-real-key
  castai-eks:castai: {cluster: {name: demo}}
"""
OUTPUT_ONLY = """
import pulumi
pulumi.export("name", pulumi.Config().require_object("castai")["cluster"]["name"])
pulumi.export("hidden", pulumi.Output.secret("a-sentinel"))
"""
ONE_USER = """
import pulumi
import pulumi_aws as aws
cloud = aws.Provider("aws", region="eu-central-1")
aws.iam.User("user", name="u", opts=pulumi.ResourceOptions(provider=cloud))
"""
SLEEPING = """
import time
print("begun", flush=True)
time.sleep(600)
"""
THINGS = """
import pulumi
from castai_stack.plugin.custom_resource import CastaiProvider, PluginResource


class Thing(PluginResource):
    pass


castai = CastaiProvider(
    "castai", api_url="http://127.0.0.1:9", api_key=None, kubeconfig="ambient", context=None
)
first = Thing("thing", {}, pulumi.ResourceOptions(provider=castai))
Thing("second", {}, pulumi.ResourceOptions(provider=castai, depends_on=[first]))
"""
SLOW_PLUGIN = """
import sys
import time

from castai_stack.plugin.handler import CreateResult, DiffResult, Handler, ReadResult
from castai_stack.plugin.server import serve


class Thing(Handler):
    name = "Thing"
    properties = {}

    def create(self, props):
        time.sleep(4)
        return CreateResult("an-id", {})

    def diff(self, id_, olds, news):
        return DiffResult(False)

    def read(self, id_, props):
        return ReadResult(id_, {})


serve([Thing], sys.argv[1:])
"""


@pytest.fixture
def stack(programs: Programs, tmp_path: Path) -> Stack:
    program_folder.write(tmp_path / "bin", programs)
    (tmp_path / "Pulumi.dev.yaml").write_text(STACK_FILE)
    return Stack(
        tmp_path,
        {SANDBOX_VARIABLE: str(tmp_path)},
        stack_file=tmp_path / "Pulumi.dev.yaml",
        program=written(tmp_path, OUTPUT_ONLY),
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "program" / "__main__.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_an_operation_tells_what_it_did_and_what_it_cost(stack: Stack):
    lines: list[str] = []
    stack.on_line = lines.append

    result = stack.up()

    assert result.changes == {"create": 1}
    assert [(step.operation, step.type) for step in result.steps] == [
        ("create", "pulumi:pulumi:Stack")
    ]
    assert not result.empty
    assert 0 < result.seconds < 300
    assert 0 < result.processor_seconds < 300
    assert result.peak_kib > 10_000
    assert "\n".join(lines) in result.output.replace("\r", "") or lines
    assert stack.preview().empty


def test_settings_reach_the_program_and_the_stack_file_stays_as_it_is(stack: Stack):
    stack.settings = ["cluster.name=other"]
    before = stack.stack_file.read_bytes()

    stack.up()

    assert stack.outputs()["name"] == "other"
    assert stack.stack_file.read_bytes() == before, "the engine appended its salt to the original"


def test_an_export_keeps_secrets_encrypted(stack: Stack):
    stack.up()

    text = json.dumps(stack.export())

    assert "ciphertext" in text
    assert "a-sentinel" not in text
    assert stack.outputs()["hidden"] == "[secret]"
    assert stack.outputs(show_secrets=True)["hidden"] == "a-sentinel"


def test_nothing_of_the_user_s_clouds_reaches_an_operation(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
):
    for name in ("AWS_PROFILE", "PULUMI_ACCESS_TOKEN", "KUBECONFIG", "CASTAI_API_KEY"):
        monkeypatch.setenv(name, "of-the-user")

    environment = stack.process_environment()

    assert "of-the-user" not in environment.values()
    assert environment["PULUMI_BACKEND_URL"] == f"file://{stack.directory}/pulumi/backend"
    assert environment["PULUMI_HOME"].startswith(str(stack.directory))


def test_a_real_plugin_of_the_machine_is_the_one_that_runs(stack: Stack, programs: Programs):
    record = stack.directory / "record"
    plugin = stack.directory / "of-the-machine" / "pulumi-resource-aws"
    plugin.parent.mkdir()
    plugin.write_text(f'#!/bin/sh\necho "$@" >> {record}\necho "it is recorded" >&2\nexit 7\n')
    plugin.chmod(0o755)
    with_plugin = replace(programs, aws_plugin=plugin)
    program_folder.write(stack.directory / "bin", with_plugin)
    stack.program = written(stack.directory, ONE_USER)

    with pytest.raises(OperationError):
        stack.preview()

    assert record.exists(), "the plugin that was found was not started"


def test_a_missing_setting_is_told_in_one_sentence(stack: Stack):
    stack.stack_file.write_text("config: {}\n")

    with pytest.raises(OperationError, match="missing configuration value") as failure:
        stack.preview()

    assert "Traceback" not in str(failure.value)


def test_a_killed_operation_ends_with_all_its_processes(stack: Stack):
    stack.program = written(stack.directory, SLEEPING)
    running = stack.begin("up")
    deadline = time.monotonic() + 30
    while not any("begun" in line for line in running._lines):
        assert time.monotonic() < deadline, "the program never began"
        time.sleep(0.1)

    running.kill()
    with pytest.raises(OperationError, match="ended with status -9"):
        running.result()

    assert living(running.group) == [], "a process outlived the kill"
    stack.pulumi("cancel", "--yes", "--stack", stack.name)
    stack.program = written(stack.directory, OUTPUT_ONLY)
    assert stack.up().changes["create"] >= 1, "the next run must work"


def living(group: int) -> list[str]:
    """Command names of the group's processes that are not merely waiting to be reaped."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,stat=,comm="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [name for pgid, state, name in rows if pgid == str(group) and "Z" not in state]


def test_an_interrupt_lets_the_engine_come_to_its_end(stack: Stack):
    stack.program = written(stack.directory, THINGS)
    plugin = written(stack.directory / "bin", SLOW_PLUGIN)
    (stack.directory / "bin" / "pulumi-resource-castai-stack").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{plugin}" "$@"\n'
    )
    before = time.monotonic()
    stack.on_line = interrupt_when_begun

    with pytest.raises(KeyboardInterrupt):
        stack.up()

    assert time.monotonic() - before > 3, "the resource under way was not waited for"
    stack.program = written(stack.directory, OUTPUT_ONLY)
    stack.on_line = print
    stack.up()


def interrupt_when_begun(line: str) -> None:
    if "thing creating" in line:
        signal.raise_signal(signal.SIGINT)
