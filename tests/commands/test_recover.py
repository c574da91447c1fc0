"""What recovery decides, without an engine; killed runs are in tests/sandbox."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta, Status

from castai_stack.access import protocol, writer
from castai_stack.commands import cluster, departures, killed_engine, pending_creates, recover
from castai_stack.commands.command_line import RefusedError
from castai_stack.commands.pending_creates import Pending, PendingLookup
from castai_stack.commands.target import Target
from castai_stack.kube import connection
from castai_stack.naming import CLUSTER_TAG
from castai_stack.plugin import waiting

URN = "urn:pulumi:dev::castai-eks::{type}::{name}"
MINE = [{"Key": CLUSTER_TAG, "Value": "demo"}]


def operation(kind, type_, resource_name, /, **inputs):
    urn = URN.format(type=type_, name=resource_name)
    return {"type": kind, "resource": {"urn": urn, "type": type_, "inputs": inputs}}


def pending(type_, **inputs):
    return Pending(URN.format(type=type_, name="x"), type_, inputs)


class Iam:
    """Answers about one user, one role and one policy."""

    def __init__(self, tags=MINE):
        self.tags = tags

    def get_user(self, **arguments):
        return {"User": {**arguments, "Tags": self.tags}}

    def get_role(self, **_arguments):
        raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": "none"}}, "GetRole")


def lookup(iam=None, clusters=()):
    class Api:
        def list_clusters(self):
            return list(clusters)

    target = Target("demo", "r", "a")
    return PendingLookup(lambda _service: iam or Iam(), Api, target, print)


def test_only_creates_are_pending_creates():
    deployment = {
        "pending_operations": [
            operation("creating", "aws:iam/user:User", "user", name="cast-eks-demo"),
            operation("updating", "aws:iam/role:Role", "role"),
            operation("deleting", "aws:iam/role:Role", "role"),
        ]
    }
    [result] = pending_creates.pending(deployment, "creating")
    assert (result.name, result.type) == ("user", "aws:iam/user:User")
    assert result.inputs == {"name": "cast-eks-demo"}
    assert list(pending_creates.pending({}, "creating")) == []


def test_a_recovery_imports_existing_objects_and_drops_the_other_creates():
    user = operation("creating", "aws:iam/user:User", "user", name="u")
    role = operation("creating", "aws:iam/role:Role", "role")
    update = operation("updating", "aws:iam/role:Role", "other")
    before = {
        "resources": [{"urn": "there"}],
        "pending_operations": [user, role, update],
        "secrets_providers": {"type": "passphrase"},
    }
    resource = dict(user["resource"])
    user["resource"]["outputs"] = {"name": "u"}
    after = pending_creates.settled(before, {user["resource"]["urn"]: "u"})
    assert after["resources"] == [{"urn": "there"}, {**resource, "id": "u"}]
    assert after["pending_operations"] == [update]
    assert after["secrets_providers"] == before["secrets_providers"]


def test_a_created_replacement_replaces_its_deleted_predecessor():
    create = operation("creating", "aws:iam/role:Role", "role", name="r")
    urn = create["resource"]["urn"]
    deleted = {"urn": urn, "id": "r", "pendingReplacement": True}
    before = {
        "resources": [{"urn": "boundary"}, deleted, {"urn": "function", "dependencies": [urn]}],
        "pending_operations": [create],
    }

    assert pending_creates.existing(before) == {"boundary", "function"}
    after = pending_creates.settled(before, {urn: "r"})
    assert after["resources"] == [
        {"urn": "boundary"},
        {**create["resource"], "id": "r"},
        {"urn": "function", "dependencies": [urn]},
    ]
    assert pending_creates.settled(before, {})["resources"] == before["resources"]


def test_an_object_with_the_stacks_tag_is_imported_by_its_name():
    assert lookup().import_id(pending("aws:iam/user:User", name="cast-eks-demo")) == "cast-eks-demo"


@pytest.mark.parametrize("tags", [[], [{"Key": CLUSTER_TAG, "Value": "other"}]])
def test_an_object_of_that_name_without_the_tag_is_refused(tags, capsys):
    result = lookup(Iam(tags)).import_id(pending("aws:iam/user:User", name="cast-eks-demo"))
    assert result is None
    assert "exists without the tag castai-eks:cluster=demo" in capsys.readouterr().out


def test_a_create_without_an_object_is_dropped():
    assert lookup().import_id(pending("aws:iam/role:Role", name="r")) is None


@pytest.mark.parametrize(
    "type_",
    [
        "aws:iam/accessKey:AccessKey",
        "castai-stack:index:ClusterToken",
    ],
)
def test_a_create_that_disappears_with_its_parent_is_dropped_without_a_question(type_):
    assert lookup(iam=object()).import_id(pending(type_, name="x")) is None


@pytest.mark.parametrize(
    ("type_", "inputs", "result"),
    [
        (
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            {"role": "r", "policyArn": "arn:p"},
            "r/arn:p",
        ),
        (
            "aws:iam/userPolicyAttachment:UserPolicyAttachment",
            {"user": "u", "policyArn": "arn:p"},
            "u/arn:p",
        ),
        ("aws:iam/rolePolicy:RolePolicy", {"role": "r", "name": "inline"}, "r:inline"),
        (
            "aws:cloudwatch/eventTarget:EventTarget",
            {"rule": "rule", "targetId": "spot-handler"},
            "rule/spot-handler",
        ),
        (pending_creates.AWS_AUTH, {"kind": "user"}, "kube-system/aws-auth/mapUsers"),
        (pending_creates.LEFTOVERS, {"namespace": "castai-agent"}, "castai-agent"),
    ],
)
def test_parts_of_imported_objects_are_imported(type_, inputs, result):
    assert lookup(iam=object()).import_id(pending(type_, **inputs)) == result


@pytest.mark.parametrize("is_listed", [True, False])
def test_an_entry_to_adopt_is_imported_only_if_the_killed_run_wrote_it(monkeypatch, is_listed):
    arn = "arn:aws:iam::012345678901:user/Theirs"
    listed = [f"user {arn.lower()}"] if is_listed else []
    annotations = {protocol.ENTRIES_ANNOTATION: json.dumps({"entries": listed})}
    live = SimpleNamespace(annotations=annotations)
    monkeypatch.setattr(cluster, "connected", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(writer, "look", lambda _: SimpleNamespace(live=live))

    create = pending(pending_creates.AWS_AUTH, kind="user", arn=arn, adopt=True)
    import_id = lookup(iam=object()).import_id(create)
    assert import_id == ("kube-system/aws-auth/mapUsers" if is_listed else None)


@pytest.mark.parametrize(
    ("metadata", "result"),
    [
        ({"name": "n", "namespace": "ns"}, "ns/n"),
        ({"name": "n"}, "n"),
        ({}, None),
    ],
)
def test_objects_of_the_cluster_are_found_by_their_name(metadata, result):
    assert lookup().import_id(pending("kubernetes:core/v1:Secret", metadata=metadata)) == result


def test_what_castai_may_have_heard_is_read_again():
    look = lookup().import_id
    assert look(pending(pending_creates.HAND_OVER, clusterId="c")) == "c"
    assert look(pending(pending_creates.PRINCIPAL, clusterId="c")) == "c/principal"
    wanted = {"clusterName": "demo", "region": "r", "accountId": "a"}
    assert look(pending(pending_creates.REGISTRATION, **wanted)) is None


class KeysOf:
    """A user of this cluster and its keys, by whether each was ever used."""

    class exceptions:  # noqa: N801 - botocore's name
        NoSuchEntityException = LookupError

    def __init__(self, keys):
        self.keys = keys
        self.deleted = []

    def list_user_tags(self, **_arguments):
        return {"Tags": MINE}

    def list_access_keys(self, **_arguments):
        return {"AccessKeyMetadata": [{"AccessKeyId": key} for key in self.keys]}

    def get_access_key_last_used(self, **arguments):
        used = self.keys[arguments["AccessKeyId"]]
        return {"AccessKeyLastUsed": {"LastUsedDate": "2026-01-01"} if used else {}}

    def delete_access_key(self, **arguments):
        self.deleted.append(arguments["AccessKeyId"])


@pytest.mark.parametrize(
    ("killed", "deleted"), [(True, ["AKIALOST"]), (False, [])], ids=["a-key-was-lost", "none-was"]
)
def test_only_a_key_that_was_never_used_and_lost_by_a_killed_run_is_deleted(
    killed, deleted, capsys
):
    iam = KeysOf({"AKIAKNOWN": False, "AKIALOST": False, "AKIATHEIRS": True})
    state = {
        "resources": [
            {"type": "aws:iam/user:User", "id": "cast-eks-demo"},
            {"type": recover.ACCESS_KEY, "id": "AKIAKNOWN"},
        ]
    }
    if killed:
        create = operation("creating", recover.ACCESS_KEY, "key", user="cast-eks-demo")
        state["pending_operations"] = [create]

    recover.Recovery(None)._keys(state, iam, "demo")

    assert iam.deleted == deleted
    assert "AKIATHEIRS of cast-eks-demo is not this stack's; left alone" in capsys.readouterr().out


def test_half_written_attributes_are_found_unless_a_process_writes_them(tmp_path, monkeypatch):
    for name, text in {"good": "{}", "empty": "", "cut": '{"a', "busy": ""}.items():
        (tmp_path / f"{name}.json.attrs").write_text(text)
        (tmp_path / f"{name}.json").write_text("")
    monkeypatch.setattr(
        killed_engine.time, "sleep", lambda _: (tmp_path / "busy.json.attrs").write_text("{}")
    )
    result = [path.name for path in killed_engine.half_written(tmp_path)]
    assert result == ["cut.json.attrs", "empty.json.attrs"]
    assert killed_engine.half_written(tmp_path / "nothing") == []


@pytest.fixture
def plugin(tmp_path):
    """A process that looks like a provider plugin whose engine is gone."""
    script = tmp_path / "pulumi-resource-double"
    script.write_text("import time\ntime.sleep(60)\n")
    started = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PULUMI_PROJECT": killed_engine.PROJECT,
            "PULUMI_BACKEND_URL": "file:///b",
        },
    )
    time.sleep(0.2)
    yield started
    started.kill()
    started.wait()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")  # noqa: PTH112
def test_plugins_without_an_engine_are_found_in_their_project_only(plugin, tmp_path):
    orphan = (plugin.pid, "pulumi-resource-double")
    assert killed_engine.orphans(tmp_path, "file:///b") == [orphan]
    assert killed_engine.orphans(tmp_path.parent, "file:///b") == []
    assert killed_engine.orphans(tmp_path) == []
    project = tmp_path / "project"
    project.mkdir()
    for main in ("../__main__.py", ".."):
        (tmp_path / "__main__.py").touch()
        (project / "Pulumi.yaml").write_text(f"main: {main}")
        assert killed_engine.orphans(project, "file:///b") == [orphan]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")  # noqa: PTH112
def test_a_plugin_that_was_named_by_its_path_is_found_like_the_others(tmp_path):
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "PulumiPlugin.yaml").touch()
    (folder / "__main__.py").write_text("import time\ntime.sleep(60)\n")
    environment = {**os.environ, "PULUMI_PROJECT": killed_engine.PROJECT}
    started = subprocess.Popen([sys.executable, str(folder)], cwd=tmp_path, env=environment)
    time.sleep(0.2)
    try:
        assert killed_engine.orphans(tmp_path) == [(started.pid, "plugin")]
    finally:
        started.kill()
        started.wait()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")  # noqa: PTH112
def test_a_shell_with_a_long_script_in_the_same_folder_is_passed_by(plugin, tmp_path):
    script = f"sleep 60; : {'x' * 5000}"
    shell = subprocess.Popen(["sh", "-c", script], cwd=tmp_path, start_new_session=True)
    time.sleep(0.2)
    try:
        orphans = killed_engine.orphans(tmp_path, "file:///b")
        assert orphans == [(plugin.pid, "pulumi-resource-double")]
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")  # noqa: PTH112
@pytest.mark.parametrize("between", ["", "exec "], ids=["language host", "none"])
def test_plugins_of_a_living_engine_are_left_alone(tmp_path, between):
    script = tmp_path / "pulumi-resource-double"
    script.write_text("import time\ntime.sleep(60)\n")
    engine = tmp_path / "pulumi"
    engine.write_text(
        f"#!/bin/sh\nexport PULUMI_PROJECT={killed_engine.PROJECT}\n"
        f"sh -c '{between}{sys.executable} {script}; true' &\nwait\n"
    )
    engine.chmod(0o755)
    # A shell shows its own name first: let it bear the engine's.
    started = subprocess.Popen(
        ["pulumi", str(engine)], executable="/bin/sh", cwd=tmp_path, start_new_session=True
    )
    time.sleep(0.4)
    try:
        assert killed_engine.orphans(tmp_path) == []
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def test_ending_a_process_that_is_gone_is_fine(plugin):
    plugin.kill()
    plugin.wait()
    killed_engine.end(plugin.pid)


def test_a_missing_pulumi_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert recover.main(["--stack", "dev", "--cwd", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "recover: there is no pulumi on PATH, or no folder to run it in\n"
    )


LOCK = {"pid": 7, "username": "ann", "hostname": socket.gethostname(), "timestamp": "2026-01-02"}


def a_process(folder, pid, *words, cwd):
    entry = folder / str(pid)
    entry.mkdir(parents=True)
    (entry / "cmdline").write_text("".join(f"{word}\0" for word in words))
    (entry / "cwd").symlink_to(cwd)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("/usr/bin/pulumi", "--non-interactive", "up", "--stack", "dev"), "up"),
        (("pulumi", "destroy", "--yes"), "destroy"),
        (("pulumi", "stack", "output"), None),
        (("pulumi", "preview"), None),
        (("python", "up"), None),
        ((), None),
    ],
)
def test_an_engine_that_changes_a_state_is_found_under_any_parent(tmp_path, words, command):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    a_process(tmp_path / "proc", 7, *words, cwd=project)
    a_process(tmp_path / "proc", 8, *words, cwd=elsewhere)

    result = killed_engine.engines(project, tmp_path / "proc")

    assert [(one.pid, one.command) for one in result] == ([(7, command)] if command else [])


def test_a_live_engine_is_a_refusal_that_names_it(monkeypatch, tmp_path, capsys):
    engine = killed_engine.Process(7, ("pulumi", "up"))
    monkeypatch.setattr(killed_engine, "engines", lambda _folder: [engine])

    assert recover.main(["--stack", "dev", "--cwd", str(tmp_path)]) == 1

    assert "an engine of this project is alive: `pulumi up`, process 7" in capsys.readouterr().err


class LockedEngine:
    """A stack with one lock; counts the commands that reach Pulumi."""

    stack = "dev"

    def __init__(self, **content):
        self.lock = killed_engine.Lock(**{**LOCK, **content})
        self.commands = []

    def locks(self):
        return [self.lock]

    def run(self, *arguments):
        self.commands.append(arguments)


@pytest.mark.parametrize(
    ("owner", "option", "refusal"),
    [
        ((LOCK["hostname"], "pulumi"), True, "locked by a live engine: ann@"),
        ((LOCK["hostname"], "bash"), False, None),
        ((LOCK["hostname"], None), False, None),
        (("other", None), False, "locked from another machine: ann@other, process 7, since 2026"),
        (("other", None), True, None),
    ],
    ids=["its owner lives", "another program has its number", "ended", "elsewhere", "told to"],
)
def test_a_lock_is_cancelled_only_when_its_owner_has_ended(
    tmp_path, monkeypatch, owner, option, refusal
):
    processes = tmp_path / "proc"
    processes.mkdir()
    hostname, program = owner
    if program:
        a_process(processes, 7, program, "up", cwd=tmp_path)
    owner_lives = killed_engine.Lock.owner_lives
    monkeypatch.setattr(
        killed_engine.Lock, "owner_lives", lambda lock: owner_lives(lock, processes)
    )
    engine = LockedEngine(hostname=hostname)
    recovery = recover.Recovery(engine, cancel_lock=option)

    if refusal:
        with pytest.raises(RefusedError, match=refusal):
            recovery._unlock()
    else:
        recovery._unlock()

    assert engine.commands == ([] if refusal else [("cancel", "--yes")])


def test_locks_of_the_stack_are_read_and_of_no_other(tmp_path):
    for stack in ("dev", "prod"):
        folder = tmp_path / "organization" / "castai-eks" / stack
        folder.mkdir(parents=True)
        (folder / "id.json").write_text(json.dumps(LOCK | {"pid": len(stack)}))
        (folder / "cut.json").write_text("{")
        (folder / "id.json.attrs").write_text("{}")

    assert killed_engine.locks(tmp_path, "organization/castai-eks/dev") == [
        killed_engine.Lock(**{**LOCK, "pid": 3})
    ]


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "castai-agent"}}
DELETING = {
    "pending_operations": [operation("deleting", "kubernetes:core/v1:Namespace", "ns", **NAMESPACE)]
}


class Clock:
    """Time that passes in pauses only."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds, _stopping):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(waiting, "CLOCK", clock)
    return clock


class Terminating:
    """A cluster whose namespace goes after some looks; `never` holds it for good."""

    def __init__(self, clock, looks):
        self.clock, self.looks = clock, looks

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def get(self, _kind, name):
        self.looks -= 1
        if self.looks < 0:
            raise ApiError(status=Status(code=404, message="not found"))
        return SimpleNamespace(metadata=ObjectMeta(name=name, deletionTimestamp="2026-01-02"))


def await_kubernetes(monkeypatch, cluster, deployment=DELETING):
    reports = []
    monkeypatch.setattr(connection, "connect", lambda _kubeconfig, _context: cluster)
    target = Target("demo", "r", "a", "ambient")
    departures.await_kubernetes(deployment, target, reports.append)
    return reports


@pytest.mark.parametrize("looks", [0, 1, 5])
def test_an_object_that_is_being_deleted_is_waited_for(monkeypatch, clock, looks):
    reports = await_kubernetes(monkeypatch, Terminating(clock, looks))

    assert reports == (
        ["the API server deletes Namespace castai-agent; waiting at most 300 s"] if looks else []
    )
    assert (clock.now > 0) == (looks > 0)


def test_the_wait_is_bounded_and_ends_in_a_refusal(monkeypatch, clock):
    with pytest.raises(RefusedError, match="Namespace castai-agent after 300 s still; `kubectl"):
        await_kubernetes(monkeypatch, Terminating(clock, 10**6))

    assert clock.now == pytest.approx(departures.KUBERNETES_SECONDS)


@pytest.mark.parametrize(("looks", "waited"), [(0, False), (2, True), (10**6, True)])
def test_an_aws_object_that_is_still_listed_is_waited_for_and_may_stay(clock, looks, waited):
    """Its delete may never have reached AWS: then the state is right about it."""
    reports, answers = [], iter([object()] * min(looks, 1000))
    pending_lookup = SimpleNamespace(aws_object=lambda _delete: next(answers, None))
    deletes = {"pending_operations": [operation("deleting", "aws:iam/role:Role", "role", name="r")]}

    departures.await_aws(deletes, pending_lookup, reports.append)

    assert reports == (["AWS still lists role; waiting at most 30 s"] if waited else [])
    assert clock.now <= departures.AWS_SECONDS


@pytest.mark.parametrize(("engine", "orphans"), [("pulumi", []), ("sh", [9])])
def test_a_plugin_below_a_language_host_has_the_engine_above_it(tmp_path, engine, orphans):
    processes = tmp_path / "proc"
    for pid, parent, program in ((7, 1, engine), (8, 7, "python"), (9, 8, "pulumi-resource-x")):
        a_process(processes, pid, program, cwd=tmp_path if pid == 9 else "/")
        (processes / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} 0")
        (processes / str(pid) / "environ").write_text(f"PULUMI_PROJECT={killed_engine.PROJECT}\0")

    result = killed_engine.orphans(tmp_path, processes=processes)

    assert [pid for pid, _ in result] == orphans


@pytest.mark.parametrize(
    ("type_", "statuses", "removed", "waited"),
    [
        (pending_creates.REGISTRATION, ["deleting", "disconnecting", "deleted"], True, True),
        (pending_creates.REGISTRATION, ["deleted"], True, False),
        (pending_creates.REGISTRATION, ["ready"], False, False),
        (pending_creates.REGISTRATION, [None], False, False),
        (pending_creates.HAND_OVER, ["deleting", "deleted"], True, True),
        ("aws:iam/role:Role", ["deleted"], False, False),
    ],
)
def test_a_disconnect_is_awaited_and_the_removal_after_it_completed(
    clock, type_, statuses, removed, waited
):
    deletes, reports = [], []

    class Api:
        def get_cluster(self, cluster_id):
            assert cluster_id == "c"
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            return SimpleNamespace(status=status) if status else None

        delete_cluster = deletes.append

    pending_lookup = PendingLookup(
        lambda _service: None, Api, Target("demo", "r", "a"), reports.append
    )
    delete = operation("deleting", type_, "registration")
    delete["resource"]["id"] = "c"

    departures.await_castai({"pending_operations": [delete]}, pending_lookup, reports.append)

    assert deletes == (["c"] if removed else [])
    assert (clock.now > 0) == waited
