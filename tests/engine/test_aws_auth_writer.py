"""The edit of aws-auth on a real API server, beside writers that do not know of it."""

import contextlib
import json
import random
import threading
from functools import partial

import pytest
from lightkube import ApiError, Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding

from castai_stack.access import entries, writer
from castai_stack.access.entries import MASTERS, AwsAuthError
from castai_stack.access.guards import Caller
from castai_stack.access.map_copy import restored
from castai_stack.access.protocol import (
    COPY,
    ENTRIES_ANNOTATION,
    Create,
    Decision,
    Delete,
    EnsureEntry,
    Patch,
    RefusedError,
    RemoveEntry,
)
from castai_stack.access.reader import parse
from castai_stack.access.steps import ATTEMPTS
from castai_stack.access.writer import ask_caller, look, send, write
from castai_stack.config.model import StackConfig
from castai_stack.kube import connection
from castai_stack.kube.connection import connect, delete_unchanged
from castai_stack.permissions import operator_kubernetes
from sandbox.kubernetes.control_plane import ControlPlane

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
NODES = entries.role(
    f"arn:aws:iam::{ACCOUNT}:role/cast-demo-eks-0f1e2d3c",
    entries.NODE_USERNAME,
    entries.NODE_GROUPS,
)
USER = entries.user(f"arn:aws:iam::{ACCOUNT}:user/cast-eks-demo", "cast-eks-demo", [MASTERS])
FOREIGN = {
    "mapRoles": f"# ours, the platform team's\n- rolearn: arn:aws:iam::{ACCOUNT}:role/platform-admin\n"
    f"  username: admin # all\n  groups: ['{MASTERS}']\n",
    "mapUsers": f'[{{"userarn": "arn:aws:iam::{ACCOUNT}:user/ana", "username": "ana"}}]',
    "mapAccounts": '- "999999999999"\n',
}


@pytest.fixture
def client(control_plane: ControlPlane):
    with connect(str(control_plane.kubeconfig), None) as connected:
        yield connected
        for name in (entries.NAME, COPY):
            with contextlib.suppress(ApiError):
                connected.delete(ConfigMap, name, namespace="kube-system")


def make(client: Client, data, **metadata):
    given = ConfigMap(
        metadata=ObjectMeta(name=entries.NAME, namespace="kube-system", **metadata), data=data
    )
    return client.create(given)


def edit(client: Client, data):
    client.patch(ConfigMap, entries.NAME, {"data": data}, namespace="kube-system")


def config_map(client: Client, name=entries.NAME):
    return client.get(ConfigMap, name, namespace="kube-system")


def exists(client: Client, name):
    snapshots = look(client)
    return (snapshots.copy if name == COPY else snapshots.live) is not None


def test_entries_come_and_go_and_the_map_is_as_it_was(client):
    before = make(client, FOREIGN, labels={"team": "platform"})

    write(client, EnsureEntry(NODES), ())
    write(client, EnsureEntry(USER), ())

    between = config_map(client)
    assert between.data["mapRoles"].startswith(FOREIGN["mapRoles"])
    assert NODES.arn in between.data["mapRoles"]
    assert json.loads(between.data["mapUsers"])[-1] == USER.as_item()
    assert config_map(client, COPY).data == FOREIGN
    ours = {f.manager for f in between.metadata.managedFields}
    assert connection.FIELD_MANAGER in ours

    write(client, RemoveEntry(USER), ())
    assert config_map(client, COPY).data == FOREIGN, "the copy stays while an entry of ours does"
    write(client, RemoveEntry(NODES), ())

    after = config_map(client)
    assert after.data == before.data
    assert after.metadata.annotations is None, "the mark must go with the last entry"
    assert after.metadata.labels == before.metadata.labels
    assert not exists(client, COPY), "the copy must go with the last entry"


def test_without_a_map_one_is_made_and_removed_again(client):
    write(client, EnsureEntry(NODES), ())
    write(client, EnsureEntry(USER), ())
    assert set(config_map(client).data) == {"mapRoles", "mapUsers"}
    write(client, RemoveEntry(NODES), ())
    write(client, RemoveEntry(USER), ())

    assert not exists(client, entries.NAME), "we made the map, and it is empty"
    assert not exists(client, COPY), "there was nothing to keep"


def test_a_map_that_we_made_stays_when_others_moved_in(client):
    write(client, EnsureEntry(NODES), ())
    client.patch(
        ConfigMap,
        entries.NAME,
        {"data": {"mapUsers": FOREIGN["mapUsers"]}},
        namespace="kube-system",
    )

    write(client, RemoveEntry(NODES), ())

    assert config_map(client).data == {"mapUsers": FOREIGN["mapUsers"]}


def test_a_second_run_writes_nothing(client):
    make(client, FOREIGN)
    write(client, EnsureEntry(NODES), ())
    version = config_map(client).metadata.resourceVersion

    write(client, EnsureEntry(NODES), ())

    assert config_map(client).metadata.resourceVersion == version


def test_a_patch_and_a_delete_of_another_version_change_nothing(client):
    old = make(client, FOREIGN).metadata.resourceVersion
    edit(client, {"x": "y"})
    now = config_map(client)

    patch = Patch(entries.NAME, old, {"mapRoles": None}, {})
    with pytest.raises(ApiError) as caught:
        delete_unchanged(client, ConfigMap, entries.NAME, "kube-system", old)

    assert caught.value.status.code == 409
    assert not send(client, Decision((patch,)))
    assert not send(client, Decision((Delete(entries.NAME, old),)))
    assert config_map(client) == now


def test_a_conflict_that_stays_names_who_wrote_last(client, monkeypatch):
    make(client, FOREIGN)
    monkeypatch.setattr("castai_stack.access.writer.time.sleep", lambda _: None)
    numbers = iter(range(10 * ATTEMPTS))
    read = type(client).get

    def and_then_another_writes(self, kind, name, *, namespace=None):
        answer = read(self, kind, name, namespace=namespace)
        if name == entries.NAME:
            patch = {"data": {"mapAccounts": f"- '{next(numbers)}'"}}
            self.patch(kind, name, patch, namespace=namespace, field_manager="argocd")
        return answer

    monkeypatch.setattr(type(client), "get", and_then_another_writes)
    with pytest.raises(AwsAuthError) as caught:
        write(client, EnsureEntry(NODES), ())
    monkeypatch.undo()

    assert str(caught.value).startswith(
        "kube-system/aws-auth: other writers changed it during each of 30 attempts, the last of them "
        "'argocd' at 20"
    )
    assert config_map(client).data["mapRoles"] == FOREIGN["mapRoles"]


def ensure(kubeconfig, entry):
    with connect(kubeconfig, None) as own:
        write(own, EnsureEntry(entry), ())


def append_five_lines(kubeconfig, number):
    """Another writer: it appends lines by compare-and-swap, each with a comment of its own."""
    chance = random.Random(number)  # noqa: S311
    with connect(kubeconfig, None) as own:
        for turn in range(5):
            appended = False
            while not appended:
                live = look(own).live
                line = (
                    f"- {{rolearn: 'foreign-{number}-{turn}', groups: [x]}} # {chance.random()}\n"
                )
                text = live.data["mapRoles"] + line
                patch = Patch(entries.NAME, live.version, {"mapRoles": text}, {})
                appended = send(own, Decision((patch,)))


def run_at_once(*actions):
    """Run every action in a thread; returns what they raised."""
    errors = []
    barrier = threading.Barrier(len(actions))

    def run(action):
        barrier.wait()
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - reported by the test, not by the thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_sixteen_concurrent_writers_lose_nothing(client, control_plane):
    """Eight write entries of ours, and eight write lines of their own."""
    make(client, FOREIGN)
    kubeconfig = str(control_plane.kubeconfig)
    ours = [
        entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-{n}", "node", ["system:nodes"])
        for n in range(8)
    ]

    errors = run_at_once(
        *(partial(ensure, kubeconfig, entry) for entry in ours),
        *(partial(append_five_lines, kubeconfig, number) for number in range(8)),
    )

    assert errors == []
    listing = parse("role", config_map(client).data["mapRoles"])
    arns = [item.arn for item in listing.items]
    assert sorted(arns[1:]) == sorted(
        [entry.arn for entry in ours] + [f"foreign-{n}-{t}" for n in range(8) for t in range(5)]
    )
    assert listing.text.startswith(FOREIGN["mapRoles"])
    assert json.loads(config_map(client).metadata.annotations[ENTRIES_ANNOTATION])["entries"] == [
        entry.identity for entry in ours
    ]
    copied = config_map(client, COPY).data["mapRoles"]
    assert copied.startswith(FOREIGN["mapRoles"]), (
        "the copy is the text before the program's first entry"
    )
    assert "role/cast-" not in copied, "the copy is the text before the program's first entry"


class Crash(BaseException):
    """The end of a killed process: nothing after this line runs."""


@contextlib.contextmanager
def crash_at(monkeypatch, number, *, after_effect):
    """Kill the writer at its request of this number, before or after its effect."""
    countdown = [number]

    def crashing(request, *arguments, **named):
        countdown[0] -= 1
        if countdown[0] == -1 and not after_effect:
            raise Crash
        answer = request(*arguments, **named)
        if countdown[0] == -1:
            raise Crash
        return answer

    with monkeypatch.context() as patched:
        for name in ("_read", "_send"):
            patched.setattr(writer, name, partial(crashing, getattr(writer, name)))
        yield


def finishes(client, order):
    """Carry out an order; False when the process was killed on the way."""
    try:
        write(client, order, ())
    except Crash:
        return False
    return True


def check_carried_out(client, order):
    ensured = isinstance(order, EnsureEntry)
    text = config_map(client).data["mapRoles"]
    assert text.startswith(FOREIGN["mapRoles"])
    assert text.count(NODES.arn) == ensured
    copied = config_map(client, COPY).data if exists(client, COPY) else None
    assert copied == (FOREIGN if ensured else None)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("order", "opposite"),
    [(EnsureEntry(NODES), RemoveEntry(NODES)), (RemoveEntry(NODES), EnsureEntry(NODES))],
    ids=["ensure", "remove"],
)
def test_a_crash_at_any_request_is_repaired_by_the_next_run(
    client, monkeypatch, order, opposite, after_effect
):
    make(client, FOREIGN)
    for number in range(20):
        write(client, opposite, ())
        with crash_at(monkeypatch, number, after_effect=after_effect):
            finished = finishes(client, order)
        write(client, order, ())
        check_carried_out(client, order)
        if finished:
            break
    write(client, RemoveEntry(NODES), ())

    assert finished, "a write took more than 20 requests"
    assert number >= 6, "each write has several requests to crash at"
    assert config_map(client).data == FOREIGN


def test_a_refused_write_leaves_no_copy_behind(client):
    make(client, {"mapUsers": f"- {{userarn: {USER.arn}, username: by-hand}}"})

    with pytest.raises(RefusedError, match="already maps"):
        write(client, EnsureEntry(USER), ())

    assert not exists(client, COPY)


def test_an_unusable_map_is_refused_by_the_server_before_anything_is_written(client):
    make(client, {"mapRoles": "# " + "x" * (entries.LIMIT - 100) + "\n"})

    with pytest.raises(RefusedError, match="its values would take"):
        write(client, EnsureEntry(NODES), ())
    with pytest.raises(
        AwsAuthError, match=r"cannot write kube-system/aws-auth: the API server answ"
    ):
        write(client, EnsureEntry(NODES), ("size",))

    assert not exists(client, COPY), "the dry run stands before the copy"


def test_restore_puts_the_kept_text_back(client):
    make(client, FOREIGN)
    write(client, EnsureEntry(NODES), ())
    edit(client, {"mapRoles": "- {rolearn: oops}\n", "mapUsers": None})

    assert send(client, restored(look(client), Caller("")))

    assert config_map(client).data == FOREIGN
    assert config_map(client).metadata.annotations is None
    assert not exists(client, COPY)


def test_restore_makes_a_map_that_was_deleted(client):
    make(client, FOREIGN)
    write(client, EnsureEntry(NODES), ())
    client.delete(ConfigMap, entries.NAME, namespace="kube-system")

    assert send(client, restored(look(client), Caller("")))

    assert config_map(client).data == FOREIGN


def test_a_map_made_by_another_in_the_meantime_is_merged_into(client):
    assert send(client, Decision((Create(entries.NAME, FOREIGN, {}),)))
    assert not send(client, Decision((Create(entries.NAME, {}, {}),)))
    assert config_map(client).data == FOREIGN


def test_the_caller_is_who_the_server_says(client):
    assert ask_caller(client) == Caller("", ("system:masters", "system:authenticated"))


def test_a_caller_without_rights_hears_what_is_needed(control_plane):
    with (
        connect(str(control_plane.kubeconfig_of("reader")), None) as reader,
        pytest.raises(AwsAuthError) as caught,
    ):
        write(reader, EnsureEntry(NODES), ())

    assert str(caught.value).endswith(
        "this caller needs get, create, patch and delete on the ConfigMaps aws-auth and "
        "castai-aws-auth-backup in kube-system"
    )


def test_what_the_operator_is_said_to_need_is_enough(client, control_plane):
    settings = StackConfig.model_validate(
        {"cluster": {"name": "demo", "region": "eu-central-1", "accountId": ACCOUNT}}
    )
    needed = operator_kubernetes.kubernetes_requirements(settings, aws_auth=True)
    ours = [
        one for one in needed if one.namespace == "kube-system" and one.resource == "configmaps"
    ]
    document = operator_kubernetes.cluster_role(ours, apply=True)
    metadata = ObjectMeta(name="aws-auth-writer", namespace="kube-system")
    make(client, FOREIGN)
    client.create(Role.from_dict({"metadata": metadata.to_dict(), "rules": document["rules"]}))
    client.create(
        RoleBinding.from_dict(
            {
                "metadata": metadata.to_dict(),
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": "aws-auth-writer",
                },
                "subjects": [
                    {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "User",
                        "name": "pull-request",
                    }
                ],
            }
        )
    )
    try:
        with connect(str(control_plane.kubeconfig_of("reader")), None) as operator:
            write(operator, EnsureEntry(NODES), ())
            assert NODES.arn in config_map(client).data["mapRoles"]
            write(operator, RemoveEntry(NODES), ())
    finally:
        client.delete(RoleBinding, "aws-auth-writer", namespace="kube-system")
        client.delete(Role, "aws-auth-writer", namespace="kube-system")
    assert config_map(client).data == FOREIGN
    assert not exists(client, COPY)
