"""The CAST AI resources on the real engine; AWS is a stub, because this is about the graph."""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from castai_stack.castai.client import CastaiApi
from sandbox.castai import API_KEY, serve
from sandbox.engine import program_folder
from sandbox.engine.stack import REPOSITORY, OperationError, Stack
from sandbox.proofs.secret_search import SecretSearch
from tests.support.castai import QUICK, StubCloud

pytestmark = pytest.mark.sandbox

SECRET = "sentinel-secret-access-key-of-a-test"
PROGRAM = """
import json
from pathlib import Path

import pulumi

from castai_stack import naming
from castai_stack.castai.resources import (
    AssumeRolePrincipal,
    ClusterRegistration,
    ClusterToken,
    ConnectionGuard,
    CredentialsReady,
    HandOver,
    RotationGuard,
)
from castai_stack.plugin.custom_resource import CastaiProvider, PluginResource


class Named(PluginResource):
    pass


wanted = json.loads(Path(__file__).with_name("wanted.json").read_text())
castai = CastaiProvider(
    "castai", api_url="https://of-the-state.example", api_key=None, kubeconfig="ambient", context=None
)
at_castai = pulumi.ResourceOptions(provider=castai)


def after(*resources):
    return pulumi.ResourceOptions(provider=castai, depends_on=resources)


ConnectionGuard(
    "connection", mode=wanted["mode"], allow_disconnect=wanted["allow"], opts=at_castai
)
registration = ClusterRegistration(
    "registration",
    cluster_name="demo",
    region="eu-central-1",
    account_id="012345678901",
    opts=at_castai,
)
Named(
    "node-role",
    {"name": registration.id.apply(lambda known: naming.node_role("demo", known))},
    at_castai,
)
token = ClusterToken("token", cluster_id=registration.id, opts=at_castai)
pulumi.export("derived", token.token.apply(lambda value: f"Bearer {value}"))
principal = AssumeRolePrincipal("principal", cluster_id=registration.id, opts=at_castai)
guard = RotationGuard(
    "rotation", generation=wanted["generation"], cluster_id=registration.id, opts=at_castai
)
options = after(principal, guard)
if wanted["moved"]:
    parent = pulumi.ComponentResource("tests:index:Parent", "parent")
    options = pulumi.ResourceOptions.merge(
        options,
        pulumi.ResourceOptions(
            parent=parent, aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)]
        ),
    )
if wanted["mode"] != "none":
    user = wanted["mode"] == "user"
    hand_over = HandOver(
        "hand-over",
        cluster_id=registration.id,
        mode=wanted["mode"],
        role_arn=None if user else "arn:aws:iam::012345678901:role/r",
        access_key_id=wanted["key"] if user else None,
        secret_access_key=pulumi.Output.secret(wanted["secret"]) if user else None,
        spreading_timeout_seconds=2,
        objects={"principal": wanted["principal"]},
        opts=options,
    )
    CredentialsReady(
        "ready",
        cluster_id=registration.id,
        credentials_id=hand_over.credentials_id,
        timeout_seconds=30,
        opts=at_castai,
    )
"""
PLUGIN = '''
import json
import sys
from pathlib import Path

from castai_stack.castai.registration import ClusterRegistrationHandler
from castai_stack.plugin.handler import (
    CreateResult, DiffResult, Handler, Property, ReadResult, UpdateResult
)
from castai_stack.plugin.server import serve
from castai_stack.stack.resource_types import RESOURCE_TYPES

WANTED = Path(__file__).with_name("wanted.json")


class PendingRegistration(ClusterRegistrationHandler):
    def diff(self, id_, olds, news):
        if json.loads(WANTED.read_text())["pending"]:
            return DiffResult(changes=True)
        return super().diff(id_, olds, news)

    def update(self, id_, olds, news):
        return UpdateResult(olds)


class Named(Handler):
    """Like an IAM role: another name is another thing, and an unknown one may be."""

    name = "Named"
    properties = {"name": Property("string")}

    def diff(self, id_, olds, news):
        changed = olds["name"] != news["name"]
        return DiffResult(changes=changed, replaces=["name"] if changed else [])

    def create(self, props):
        return CreateResult(props["name"], {"name": props["name"]})

    def read(self, id_, props):
        return ReadResult(id_, props)


others = [one for one in RESOURCE_TYPES if one is not ClusterRegistrationHandler]
serve([*others, PendingRegistration, Named], sys.argv[1:])
'''
FIRST = {
    "pending": False,
    "moved": False,
    "mode": "user",
    "allow": False,
    "generation": 0,
    "key": "AKIAONE",
    "secret": SECRET,
    "principal": "/cast-eks-demo",
}


class Life:
    """One stack, its program, and the service that it meets."""

    def __init__(self, directory, programs, castai):
        self.castai = castai
        self.folder = directory / "program"
        self.folder.mkdir(parents=True)
        (self.folder / "__main__.py").write_text(PROGRAM)
        (self.folder / "plugin.py").write_text(PLUGIN)
        program_folder.write(directory / "bin", programs)
        plugin = directory / "bin" / "pulumi-resource-castai-stack"
        plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{self.folder}/plugin.py" "$@"\n')
        self.stack = Stack(
            directory,
            {
                "CASTAI_API_URL": castai.url,
                "CASTAI_API_KEY": API_KEY,
                "PYTHONPATH": f"{self.folder}:{REPOSITORY}",
            },
            program=self.folder / "__main__.py",
        )
        self.api = CastaiApi(castai.url, API_KEY)
        self.outputs = []

    def wants(self, **changed):
        (self.folder / "wanted.json").write_text(json.dumps({**FIRST, **changed}))

    def run(self, operation, *arguments, **changed):
        self.wants(**changed)
        result = getattr(self.stack, operation)(*arguments)
        self.outputs.append(result.output)
        return {
            step.name: step.operation
            for step in result.steps
            if step.operation not in ("same", "refresh", "read")
        }

    def state(self):
        return self.castai.service.state()["clusters"][-1]


@contextmanager
def a_service(directory):
    running = serve(directory, "http://127.0.0.1:1", options=QUICK)
    running.service.cloud = StubCloud()
    yield running
    running.close()


@pytest.fixture(scope="module")
def life(tmp_path_factory, programs):
    """A stack that is up in user mode; every test leaves it so."""
    with a_service(tmp_path_factory.mktemp("castai")) as castai:
        result = Life(tmp_path_factory.mktemp("life"), programs, castai)
        result.run("up")
        yield result
        result.run("destroy")
        assert result.api.list_clusters() == [], "a live cluster is left"


@pytest.fixture
def new_life(tmp_path, programs):
    """A stack of which nothing is up yet."""
    with a_service(tmp_path / "castai") as castai:
        yield Life(tmp_path, programs, castai)
        assert SecretSearch(tmp_path, castai_url=castai.url).plain() == []


def test_a_second_preview_shows_nothing(life):
    assert life.run("preview") == {}


def test_a_pending_update_of_the_registration_replaces_nothing_that_hangs_on_its_id(life):
    plan = life.run("preview", pending=True)
    assert plan == {"registration": "update"}


def test_a_moved_hand_over_is_neither_deleted_nor_made_anew(life):
    plan = life.run("preview", moved=True)
    assert plan == {"parent": "create"}


def test_the_state_holds_no_code_and_only_the_types_of_the_plugin(life):
    resources = life.stack.export()["deployment"]["resources"]
    text = json.dumps([(one.get("inputs"), one.get("outputs")) for one in resources])

    assert "__provider" not in text
    assert "castai_stack" not in text, "a module path in a state can never move"
    types = {one["type"] for one in resources}
    assert {kind for kind in types if "castai" in kind} >= {
        "castai-stack:index:HandOver",
        "pulumi:providers:castai-stack",
    }


def test_refresh_and_destroy_need_no_program(new_life):
    new_life.run("up")
    new_life.wants()
    program = new_life.folder / "__main__.py"
    text = program.read_text()
    program.write_text("raise AssertionError('the program ran')")

    assert new_life.stack.refresh().empty
    new_life.stack.destroy()

    program.write_text(text)
    assert new_life.state()["status"] in ("deleted", "archived")


def test_an_error_reaches_the_user_as_its_sentence(new_life):
    new_life.castai.faults.set_faults(
        {"rules": [{"action": "castai:CreateToken", "status": 403, "times": 9}]}
    )
    new_life.wants()

    with pytest.raises(OperationError) as failure:
        new_life.stack.up()

    new_life.castai.faults.set_faults({})
    assert "CAST AI" in str(failure.value)
    assert "Traceback" not in failure.value.output
    assert "Unexpected" not in failure.value.output
    new_life.run("destroy")


def test_keys_and_a_role_take_each_others_place_in_an_update(life):
    before = life.state()["credentialsId"]
    assert life.run("up", mode="role") == {
        "connection": "update",
        "hand-over": "update",
        "ready": "update",
    }
    assert life.state()["credentialsKind"] == "role"
    life.run("up")
    after = life.state()
    assert after["credentialsKind"] == "user"
    assert after["credentialsId"] != before
    assert "disconnecting" not in " ".join(after["log"])


def test_a_hand_over_made_elsewhere_is_found_and_repaired(life):
    life.api.hand_over_keys(life.state()["id"], "AKIAELSEWHERE", "another-secret-key")
    assert life.run("preview") == {}, "without a refresh the state is believed"
    life.run("refresh")
    assert life.run("preview") == {"hand-over": "update", "ready": "update"}
    life.run("up")
    assert life.state()["accessKeyId"] == "AKIAONE"
    life.run("refresh")
    assert life.run("preview") == {}


def test_a_disconnect_in_the_console_is_found_by_a_refresh_and_undone_by_the_next_run(life):
    cluster = life.state()["id"]
    life.api.disconnect(cluster, delete_nodes=False)
    assert life.run("preview") == {}, "without a refresh the state is believed"
    life.run("refresh")
    assert "is disconnected at CAST AI (status del" in life.outputs[-1]
    planned = life.run("preview")
    assert planned == {"registration": "update", "hand-over": "update", "ready": "update"}
    assert "`pulumi up` registers it again under this id" in life.outputs[-1]
    assert life.run("up") == planned
    assert (life.state()["id"], life.state()["accessKeyId"]) == (cluster, "AKIAONE")
    life.run("refresh")
    assert life.run("preview") == {}


def test_a_jump_of_the_rotation_counter_is_refused_in_the_preview(life):
    with pytest.raises(OperationError) as caught:
        life.run("preview", generation=2)
    assert "credentials.rotation went from 0 to 2" in caught.value.output


def test_going_to_none_is_refused_before_anything_happens(life):
    with pytest.raises(OperationError) as caught:
        life.run("up", mode="none")
    assert "credentials.mode went from user to none" in caught.value.output
    assert life.state()["credentialsKind"] == "user"
    assert life.run("preview") == {}


def test_the_preview_warns_of_a_gap(life):
    life.run("preview", principal="/team/cast-eks-demo")
    assert "warning: principal /cast-eks-demo becomes /team/cast-eks-demo" in life.outputs[-1]


def test_a_failed_hand_over_is_told_in_a_sentence_and_made_again_by_the_next_run(life):
    life.castai.service.cloud.works = False
    try:
        with pytest.raises(OperationError) as caught:
            life.run("up", key="AKIATWO")
    finally:
        life.castai.service.cloud.works = True
    life.outputs.append(caught.value.output)
    assert "CAST AI cannot use the access key AKIATWO that it was handed" in caught.value.output
    assert "AWS still spreads the new access" in caught.value.output, "progress is not shown"
    assert life.run("preview", key="AKIATWO") == {"hand-over": "update", "ready": "update"}
    assert life.run("preview") == {}


def test_a_token_that_expired_unused_is_made_again_after_a_refresh(life):
    cluster = life.castai.service.clusters[life.state()["id"]]
    for token in cluster.tokens:
        token.replaced = True
    life.run("refresh")
    assert life.run("up") == {"token": "create"}


def test_no_secret_is_in_the_state_its_backups_or_a_log(life):
    """Runs last, over everything that the tests above made."""
    life.run("up", generation=1)
    life.run("refresh", generation=1)
    tokens = [token.value for token in life.castai.service.clusters[life.state()["id"]].tokens]
    assert len(tokens) > 1
    texts = {"export": json.dumps(life.stack.export())}
    texts |= {f"output {n}": text for n, text in enumerate(life.outputs)}
    for path in life.stack.directory.rglob("*"):
        if path.is_file() and path.parent != life.folder and "bin" not in path.parts:
            texts[str(path)] = path.read_bytes().decode(errors="replace")
    assert any("backups" in name for name in texts), "no backup was looked at"
    for secret in (SECRET, API_KEY, *tokens):
        result = [name for name, text in texts.items() if secret in text]
        assert result == [], "a secret is told"


def test_a_destroy_disconnects_first_and_removes_the_cluster_last(new_life):
    new_life.run("up", mode="role")
    new_life.run("destroy")
    log = new_life.state()["log"]
    assert log.index("disconnected") < log.index("principal removed") < log.index("removed")
    assert new_life.stack.export()["deployment"].get("resources", []) == []


def test_going_to_none_disconnects_when_it_is_allowed(new_life):
    new_life.run("up")
    assert new_life.run("up", mode="none", allow=True)["hand-over"] == "delete"
    assert new_life.state()["status"] == "deleted"


def test_a_killed_run_leaves_nothing_that_the_next_one_cannot_use(new_life):
    # The files of attributes beside the states are not replaced in one step; do without them.
    backend = {"PULUMI_BACKEND_URL": f"file://{new_life.stack.backend}?metadata=skip"}
    new_life.stack = replace(new_life.stack, environment={**new_life.stack.environment, **backend})
    new_life.wants()
    running = new_life.stack.begin("up")
    new_life.castai.faults.set_faults({"kill": {"after": 3, "pid": running.group}})
    with pytest.raises(OperationError):
        running.result()
    assert len(new_life.castai.faults.requests()["log"]) >= 3, "it was not killed"
    new_life.stack.pulumi("cancel", "--yes", "--stack", "dev")
    new_life.run("up")
    assert new_life.run("preview") == {}
    assert len(new_life.api.list_clusters()) == 1
