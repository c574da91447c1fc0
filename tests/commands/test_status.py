"""The command `status` against the sandbox's service: its table, its JSON and its exit status."""

import json

import pytest
import yaml

from castai_stack.automation.status import Line
from castai_stack.castai.automation_api import AutomationApi
from castai_stack.commands import status
from castai_stack.commands.command_line import FAILED, NEGATIVE, OK, CommandError
from castai_stack.stack.resource_types import RESOURCE_TYPES
from sandbox.castai import API_KEY, Options, serve
from tests.castai.test_remote_fields import CONFIGURATION
from tests.support.castai import ACCOUNT, QUICK, REGION, StubCloud
from tests.support.plugin import handler

READY = {"agent": "all 1 pods are Ready", "controller": "all 2 pods are Ready"}


@pytest.fixture
def castai(tmp_path, monkeypatch):
    running = serve(tmp_path / "castai", "http://127.0.0.1:1", options=Options(**vars(QUICK)))
    running.service.cloud = StubCloud()
    monkeypatch.setenv("CASTAI_API_KEY", API_KEY)
    monkeypatch.setenv("CASTAI_API_URL", running.url)
    monkeypatch.setattr(status, "_pods", lambda _about: READY)
    yield running
    running.close()


@pytest.fixture
def cluster_id(castai):
    """A cluster whose agent is online, with the credentials of a role in use."""
    api = AutomationApi(castai.url, API_KEY)
    result = api.register("demo", REGION, ACCOUNT).id
    api.hand_over_role(result, "arn:aws:iam::012345678901:role/r")
    cluster = castai.service.clusters[result]
    cluster.agent_state, cluster.status = "online", "ready"
    kind = next(one for one in RESOURCE_TYPES if one.name == "NodeConfiguration")
    handler(kind, api_key=API_KEY, api_url=castai.url).create(
        {**CONFIGURATION, "cluster_id": result}
    )
    return result


def stack_file(tmp_path, **settings):
    cluster = {"name": "demo", "region": REGION, "accountId": ACCOUNT}
    raw = {"cluster": cluster, "credentials": {"mode": "role"}, **settings}
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(yaml.safe_dump({"config": {"castai-eks:castai": raw}}))
    return str(path)


def run_status(capsys, path):
    """Return the exit status and the parts of the JSON."""
    code = status.main([path, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    return code, {part["part"]: part for part in document["parts"]}, document["problems"]


def parts_of(result):
    return [name for name in result if result[name]["toDo"]]


@pytest.mark.usefixtures("castai")
def test_a_cluster_that_is_not_registered_is_something_to_do(tmp_path, capsys):
    code, result, problems = run_status(capsys, stack_file(tmp_path))

    assert (code, list(result), problems) == (NEGATIVE, ["registration"], [])
    assert "`pulumi up` registers it" in result["registration"]["toDo"]


def test_what_is_missing_is_something_to_do(cluster_id, tmp_path, capsys):
    wanting = {"automation": {"autoscaler": {"enabled": True}}}
    code, result, _ = run_status(capsys, stack_file(tmp_path, **wanting))

    assert list(result) == [
        "registration",
        "agent",
        "controller",
        "credentials",
        "node configuration",
        "policies",
        "evictor",
        "nodes",
    ]
    assert result["node configuration"]["state"] == "default: 2 subnets, 2 security groups"
    assert cluster_id in result["registration"]["state"]
    assert code == NEGATIVE
    assert "policies" in parts_of(result)


def test_the_table_has_a_row_for_each_part(cluster_id, tmp_path, capsys):
    status.main([stack_file(tmp_path)])
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["PART", "STATE", "TO", "DO"]
    assert any(line.startswith("policies") and "off: CAST AI adds" in line for line in lines)
    assert API_KEY not in "\n".join(lines)
    assert cluster_id in lines[1]


@pytest.mark.usefixtures("castai")
def test_without_anything_to_do_the_exit_status_is_zero(tmp_path, capsys, monkeypatch):
    fine = [Line("agent", "online")]
    monkeypatch.setattr(status, "_at_castai", lambda *_: fine)

    assert run_status(capsys, stack_file(tmp_path))[0] == OK


@pytest.mark.usefixtures("castai")
def test_keys_are_asked_for_in_user_mode_only(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(status, "_at_castai", lambda *_: [])
    monkeypatch.setattr(status, "_keys", lambda *_: [Line("access key", "AKIA1", "rotate")])

    user = stack_file(tmp_path, credentials={"mode": "user"})
    assert list(run_status(capsys, user)[1]) == ["access key"]
    assert run_status(capsys, stack_file(tmp_path))[1] == {}


@pytest.mark.usefixtures("cluster_id")
def test_a_place_without_an_answer_hides_no_other(tmp_path, capsys, monkeypatch):
    def unreachable(_about):
        raise CommandError("Kubernetes: no answer")

    monkeypatch.setattr(status, "_pods", unreachable)
    code, result, problems = run_status(capsys, stack_file(tmp_path))

    assert (code, problems) == (FAILED, ["Kubernetes: no answer"])
    assert "its pods were not asked for" in result["agent"]["state"]


@pytest.mark.usefixtures("castai")
def test_without_a_key_the_message_says_where_to_put_one(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CASTAI_API_KEY")
    code, result, problems = run_status(capsys, stack_file(tmp_path))

    assert (code, result) == (FAILED, {})
    assert "set CASTAI_API_KEY" in problems[0]


def files(tmp_path, **stacks):
    paths = []
    for name, settings in stacks.items():
        path = stack_file(tmp_path, **settings)
        paths.append(str(tmp_path / f"Pulumi.{name}.yaml"))
        (tmp_path / "Pulumi.x.yaml").rename(paths[-1])
        assert path != paths[-1]
    return paths


@pytest.mark.usefixtures("castai")
def test_many_stacks_are_one_table_and_one_list(tmp_path, capsys, monkeypatch):
    def at_castai(settings, *_):
        if settings.permissions == "documented":
            raise CommandError("CAST AI: no answer")
        return [Line("agent", "online")]

    monkeypatch.setattr(status, "_at_castai", at_castai)
    paths = files(tmp_path, a={}, b={"permissions": "documented"}, c={})

    assert status.main(paths) == FAILED
    printed = capsys.readouterr()
    assert [line.split() for line in printed.out.splitlines()] == [
        ["STACK", "PART", "STATE", "TO", "DO"],
        ["a", "agent", "online"],
        ["c", "agent", "online"],
    ]
    assert printed.err == "status: b: CAST AI: no answer\n"

    assert status.main([*paths[::2], "--format", "json"]) == OK
    listed = json.loads(capsys.readouterr().out)
    assert [(one["stack"], one["cluster"], one["problems"]) for one in listed] == [
        ("a", "demo", []),
        ("c", "demo", []),
    ]


@pytest.mark.usefixtures("castai")
def test_a_stack_file_that_is_refused_ends_the_command_before_any_question(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(status, "find_out", lambda _: pytest.fail("it was asked"))
    paths = files(tmp_path, a={}, b={"permissions": "unknown"})

    assert status.main(paths) == FAILED
    assert "permissions: found 'unknown'" in capsys.readouterr().err
