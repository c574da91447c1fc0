"""After a run that was killed: `python -m castai_stack.recover`.

A killed engine leaves a lock, plugins without a parent, and creates of which nobody knows whether
they happened. This takes the lock away, ends those plugins, takes into the state what bears our
exact name and tag, forgets creates that never happened or may be repeated, and deletes access
keys whose secret was lost with the engine. Then `pulumi up` or `pulumi destroy` goes on.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from castai_stack import aws_auth, command_line
from castai_stack.audit import CLUSTER_TAG, clients
from castai_stack.resources.service import DEFAULT_URL, TAKE_OVER

if TYPE_CHECKING:
    from castai_stack.castai_api import CastaiApi

PROJECT = "castai-eks"
HAND_OVER = "pulumi-python:dynamic/castai:HandOver"
PRINCIPAL = "pulumi-python:dynamic/castai:AssumeRolePrincipal"
REGISTRATION = "pulumi-python:dynamic/castai:ClusterRegistration"
LEFTOVERS = "pulumi-python:dynamic/castai:AgentLeftovers"
AWS_AUTH = "pulumi-python:dynamic/castai:AwsAuthEntry"
ACCESS_KEY = "aws:iam/accessKey:AccessKey"
OK, FAILED = 0, 1

_PLUGINS = ("pulumi-resource-", "pulumi.dynamic", "pulumi-language-")
_GRACE_SECONDS = 5.0
_WRITING_SECONDS = 1.0
_FILES = "file://"
_ABSENT = (
    "NoSuchEntity",
    "ResourceNotFoundException",
    "InvalidRequestException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
)
"""AWS's words for: there is none."""


class RecoveryError(Exception):
    """Recovery cannot go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A create of which the engine does not know whether it happened."""

    urn: str
    type: str
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the resource in the program."""
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, slots=True)
class Found:
    """What AWS has in the place of a pending create."""

    id: str
    tags: Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack.recover",
        description="Put a stack in order after its engine was killed.",
        epilog="Uses the pulumi on PATH, with the backend, passphrase and AWS credentials of this "
        "shell. Only run it when no other run of the stack is under way. Exit status: 0 in order, "
        "1 not.",
    )
    parser.add_argument(
        "--stack", metavar="NAME", help="name of the stack; default: the one that is selected"
    )
    parser.add_argument(
        "--cwd",
        type=Path,
        default=Path.cwd(),
        metavar="FOLDER",
        help="folder of the project, with Pulumi.yaml; default: here",
    )
    parser.add_argument(
        "--delete-key",
        action="append",
        default=[],
        metavar="ID",
        help="also delete this access key of the user, which the stack does not know; repeatable",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be done, and change nothing"
    )
    given = parser.parse_args(arguments)
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - help needs none

    from castai_stack.castai_api import CastaiError  # noqa: PLC0415 - help needs none

    try:
        engine = Engine(given.cwd)
        engine.mend(dry_run=given.dry_run)
        engine.select(given.stack)
        Recovery(engine, dry_run=given.dry_run, delete_keys=given.delete_key).run()
    except (RecoveryError, CastaiError) as error:
        _say(f"recover: {error}", sys.stderr)
        return FAILED
    except (BotoCoreError, ClientError) as error:
        _say(f"recover: AWS: {error}", sys.stderr)
        return FAILED
    return OK


def _error_of(output: str) -> str:
    """Pick what the engine complained of, or its last words."""
    lines = output.strip().splitlines()
    first = next((n for n, line in enumerate(lines) if "error:" in line), max(len(lines) - 10, 0))
    return "\n".join(lines[first : first + 30])


class Engine:
    """The pulumi command on one stack."""

    stack = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def select(self, stack: str | None) -> None:
        """Work on this stack, or on the one that is selected."""
        self.stack = stack or self.run("stack", "--show-name").strip()

    def mend(self, *, dry_run: bool) -> None:
        """Remove what a killed engine has half written beside the states, when they are files.

        The states themselves are replaced in one step; their attributes are not, and an empty
        file of attributes makes the state unreadable (seen with 3.215.0).
        """
        url = str(json.loads(self.run("whoami", "--json", "--verbose")).get("url", ""))
        if not url.startswith(_FILES):
            return
        place = url.removeprefix(_FILES).partition("?")[0]
        folder = Path(place).expanduser() / ".pulumi" / "stacks"
        for path in half_written(folder):
            if dry_run:
                raise RecoveryError(f"{path} is half written; run this without --dry-run")
            _say(f"recover: {path.name}: half written, removed; the state does not need it")
            path.unlink(missing_ok=True)

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command, on the stack if there is one, and return what it printed."""
        stack = ("--stack", self.stack) if self.stack else ()
        try:
            done = subprocess.run(
                ["pulumi", "--non-interactive", *arguments, *stack],
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except FileNotFoundError:
            raise RecoveryError("there is no pulumi on PATH, or no folder to run it in") from None
        if done.returncode != 0:
            raise RecoveryError(f"pulumi {arguments[0]}: {_error_of(done.stdout + done.stderr)}")
        return done.stdout

    def deployment(self) -> dict[str, Any]:
        """Return the state, secrets encrypted."""
        return json.loads(self.run("stack", "export"))["deployment"]

    def replace_deployment(self, deployment: Mapping[str, Any]) -> None:
        """Put another state in the place of the one there is; secrets stay encrypted."""
        exported = json.loads(self.run("stack", "export"))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({**exported, "deployment": deployment}, file)
            file.flush()
            self.run("stack", "import", "--file", file.name)

    def api(self) -> "CastaiApi":
        """Return the client of CAST AI's API, as the dynamic resources make it."""
        from castai_stack.castai_api import CastaiApi  # noqa: PLC0415 - lazy

        url = os.environ.get("CASTAI_API_URL") or self.settings().get("api", {}).get("url")
        key = os.environ.get("CASTAI_API_KEY")
        if not key:
            key = self.run("config", "get", f"{PROJECT}:apiKey").strip()
        return CastaiApi(url or DEFAULT_URL, key)

    def settings(self) -> dict[str, Any]:
        """Return the `castai` object of the configuration, which holds no secret."""
        values = json.loads(self.run("config", "--json"))
        found = values.get(f"{PROJECT}:castai", {})
        return found.get("objectValue") or json.loads(found.get("value") or "{}")


class Recovery:
    """The steps, in their order."""

    def __init__(
        self, engine: Engine, *, dry_run: bool = False, delete_keys: Sequence[str] = ()
    ) -> None:
        self._engine = engine
        self._dry_run = dry_run
        self._delete_keys = delete_keys

    def run(self) -> None:
        """Do everything that is needed, and say what was."""
        cluster = self._engine.settings().get("cluster", {})
        if not cluster.get("name") or not cluster.get("region"):
            raise RecoveryError(
                f"stack {self._engine.stack} has no {PROJECT}:castai.cluster; "
                "run this in the folder of the project, or give --cwd"
            )
        client = clients(cluster["region"])
        account = client("sts").get_caller_identity()["Account"]
        if account != cluster.get("accountId"):
            raise RecoveryError(
                f"the AWS credentials are for account {account}, the cluster is in "
                f"{cluster.get('accountId')}; use credentials of that account"
            )
        self._end_orphans()
        self._unlock()
        deployment = self._engine.deployment()
        pending = list(pending_creates(deployment))
        if pending or updates_hand_over(deployment):
            self._settle(deployment, pending, Places(client, self._engine.api, cluster["name"]))
        self._keys(deployment, pending, client("iam"), cluster["name"])
        would = "would be " if self._dry_run else ""
        _say(
            f"recover: stack {self._engine.stack} {would}in order; run `pulumi up` to go on, or "
            "`pulumi destroy` to take everything away"
        )

    def _end_orphans(self) -> None:
        for pid, what in orphans(self._engine.folder):
            _say(f"recover: plugin without an engine, process {pid} ({what}): ended")
            if not self._dry_run:
                end(pid)

    def _unlock(self) -> None:
        if self._dry_run:
            return
        # A stack that is not locked takes this as well as one that is.
        with contextlib.suppress(RecoveryError):
            self._engine.run("cancel", "--yes")

    def _settle(
        self, deployment: Mapping[str, Any], pending: Sequence[Pending], places: "Places"
    ) -> None:
        known = {resource["urn"] for resource in deployment.get("resources") or ()}
        taken: dict[str, str] = {}
        for one in pending:
            # The predecessor is still there: the next run replaces it from the beginning.
            found = None if one.urn in known else places.look(one)
            if found is None:
                _say(f"recover: {one.name} ({one.type}): not there, or without effect; forgotten")
            else:
                _say(f"recover: {one.name} ({one.type}): taken into the state as {found}")
                taken[one.urn] = found
        hand_over = updates_hand_over(deployment)
        if hand_over:
            _say("recover: the interrupted hand-over counts as this stack's own")
        if self._dry_run:
            return
        self._engine.replace_deployment(settled(deployment, taken))
        self._engine.run(
            "refresh",
            "--yes",
            "--skip-preview",
            environment={TAKE_OVER: "yes"} if hand_over else None,
        )

    def _keys(
        self, deployment: Mapping[str, Any], pending: Sequence[Pending], iam: Any, cluster: str
    ) -> None:
        known = {
            resource.get("id")
            for resource in deployment.get("resources") or ()
            if resource["type"] == ACCESS_KEY
        }
        lost = {str(one.inputs.get("user", "")) for one in pending if one.type == ACCESS_KEY}
        for user in sorted(users_of(deployment) | lost):
            for key in keys_of(iam, user, cluster):
                key_id = key["AccessKeyId"]
                if key_id in known:
                    continue
                # A key that was never used cannot be anybody's: its secret was shown once, to
                # the engine that was killed.
                used = iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
                ours = user in lost and "LastUsedDate" not in used
                if ours or key_id in self._delete_keys:
                    _say(f"recover: access key {key_id} of {user}: its secret is lost; deleted")
                    if not self._dry_run:
                        iam.delete_access_key(UserName=user, AccessKeyId=key_id)
                else:
                    _say(
                        f"recover: access key {key_id} of {user} is not this stack's; left alone. "
                        f"If nobody needs it, run again with --delete-key {key_id}"
                    )


def pending_creates(deployment: Mapping[str, Any]) -> Iterator[Pending]:
    """List the creates that a killed run has begun."""
    for operation in deployment.get("pending_operations") or ():
        if operation["type"] == "creating":
            resource = operation["resource"]
            yield Pending(resource["urn"], resource["type"], resource.get("inputs") or {})


def updates_hand_over(deployment: Mapping[str, Any]) -> bool:
    """Tell whether a killed run was about to hand over once more, and perhaps did."""
    return any(
        one["type"] == "updating" and one["resource"]["type"] == HAND_OVER
        for one in deployment.get("pending_operations") or ()
    )


def settled(deployment: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, Any]:
    """Return the state with no create pending: `taken` gives ids by URN, the rest is forgotten.

    The engine's own `refresh --import-pending-creates` loses the resource (seen with 3.215.0: the
    operation is turned into an import that nothing carries out), hence by hand. The refresh that
    follows reads what a resource outputs. Outputs that the operation has already are left out: with
    them the id would be read as one that the provider chose, and some differ from those to import.
    """
    resources, operations = list(deployment.get("resources") or ()), []
    for operation in deployment.get("pending_operations") or ():
        if operation["type"] != "creating":
            operations.append(operation)
        elif (urn := operation["resource"]["urn"]) in taken:
            asked = {k: v for k, v in operation["resource"].items() if k != "outputs"}
            resources.append({**asked, "id": taken[urn]})
    return {**deployment, "resources": resources, "pending_operations": operations}


def users_of(deployment: Mapping[str, Any]) -> set[str]:
    """Users that the state knows."""
    return {
        str(resource["id"])
        for resource in deployment.get("resources") or ()
        if resource["type"] == "aws:iam/user:User" and resource.get("id")
    }


def keys_of(iam: Any, user: str, cluster: str) -> list[dict[str, Any]]:
    """Keys of a user that carries this cluster's tag; none of any other user."""
    try:
        tags = _tags(iam.list_user_tags(UserName=user))
        if tags.get(CLUSTER_TAG) != cluster:
            return []
        return list(iam.list_access_keys(UserName=user)["AccessKeyMetadata"])
    except iam.exceptions.NoSuchEntityException:
        return []


class Places:
    """Where a pending create would be found, if it happened.

    Whatever a destroy would have to take away is taken in; what goes with something else, or has
    no effect outside of the state, is forgotten. A thing that lacks this cluster's tag is
    somebody else's, whatever its name.
    """

    def __init__(
        self, client: Callable[[str], Any], api: Callable[[], "CastaiApi"], cluster: str
    ) -> None:
        self._client = client
        self._api = api
        self._cluster = cluster
        # The id follows from the inputs; the refresh drops what turns out not to be there.
        self._derived: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
            HAND_OVER: lambda inputs: str(inputs["cluster_id"]),
            PRINCIPAL: lambda inputs: f"{inputs['cluster_id']}/principal",
            REGISTRATION: self._registration,
            LEFTOVERS: lambda inputs: str(inputs["namespace"]),
            AWS_AUTH: lambda inputs: f"{aws_auth.WHERE}/{aws_auth.KEYS[inputs['kind']]}",
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment": lambda inputs: (
                f"{inputs['role']}/{inputs['policyArn']}"
            ),
            "aws:iam/userPolicyAttachment:UserPolicyAttachment": lambda inputs: (
                f"{inputs['user']}/{inputs['policyArn']}"
            ),
            "aws:iam/rolePolicy:RolePolicy": lambda inputs: f"{inputs['role']}:{inputs['name']}",
            "aws:cloudwatch/eventTarget:EventTarget": lambda inputs: (
                f"{inputs['rule']}/{inputs['targetId']}" if inputs.get("targetId") else None
            ),
        }
        self._looks: dict[str, Callable[[Mapping[str, Any]], Found | None]] = {
            "aws:iam/user:User": self._user,
            "aws:iam/role:Role": self._role,
            "aws:iam/policy:Policy": self._policy,
            "aws:iam/instanceProfile:InstanceProfile": self._profile,
            "aws:lambda/function:Function": self._function,
            "aws:lambda/permission:Permission": self._permission,
            "aws:cloudwatch/logGroup:LogGroup": self._log_group,
            "aws:cloudwatch/eventRule:EventRule": self._rule,
            "aws:cloudwatch/metricAlarm:MetricAlarm": self._alarm,
            "aws:sqs/queue:Queue": self._queue,
            "aws:secretsmanager/secret:Secret": self._secret,
            "aws:eks/accessEntry:AccessEntry": self._access_entry,
        }

    def look(self, pending: Pending) -> str | None:
        """Return the id to import, or None when the create is to be forgotten."""
        if pending.type.startswith("kubernetes:"):
            return _kubernetes_id(pending.inputs)
        if pending.type in self._derived:
            return self._derived[pending.type](pending.inputs)
        found = self._found(pending)
        if found is None:
            return None
        if found.tags.get(CLUSTER_TAG) != self._cluster:
            _say(
                f"recover: {found.id} exists without the tag {CLUSTER_TAG}={self._cluster}: "
                "somebody else made it, and the next run will say that it is in the way"
            )
            return None
        return found.id

    def _found(self, pending: Pending) -> Found | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - lazy

        look = self._looks.get(pending.type)
        try:
            return None if look is None else look(pending.inputs)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _ABSENT:
                return None
            raise

    def _registration(self, inputs: Mapping[str, Any]) -> str | None:
        wanted = (inputs["cluster_name"], inputs["region"], inputs["account_id"])
        for cluster in self._api().list_clusters():
            if (cluster.name, cluster.region, cluster.account_id) == wanted:
                return None if cluster.archived else cluster.id
        return None

    def _user(self, inputs: Mapping[str, Any]) -> Found | None:
        user = self._client("iam").get_user(UserName=inputs["name"])["User"]
        return Found(user["UserName"], _tags(user))

    def _role(self, inputs: Mapping[str, Any]) -> Found | None:
        role = self._client("iam").get_role(RoleName=inputs["name"])["Role"]
        return Found(role["RoleName"], _tags(role))

    def _policy(self, inputs: Mapping[str, Any]) -> Found | None:
        iam = self._client("iam")
        for page in iam.get_paginator("list_policies").paginate(Scope="Local"):
            for policy in page["Policies"]:
                if policy["PolicyName"] == inputs["name"]:
                    tags = _tags(iam.list_policy_tags(PolicyArn=policy["Arn"]))
                    return Found(policy["Arn"], tags)
        return None

    def _profile(self, inputs: Mapping[str, Any]) -> Found | None:
        profile = self._client("iam").get_instance_profile(InstanceProfileName=inputs["name"])[
            "InstanceProfile"
        ]
        return Found(profile["InstanceProfileName"], _tags(profile))

    def _function(self, inputs: Mapping[str, Any]) -> Found | None:
        found = self._client("lambda").get_function(FunctionName=inputs["name"])
        return Found(found["Configuration"]["FunctionName"], found.get("Tags", {}))

    def _permission(self, inputs: Mapping[str, Any]) -> Found | None:
        # Without a chosen id another one is added beside it; with one it is in the way.
        statement, function = inputs.get("statementId"), str(inputs["function"])
        if not statement:
            return None
        text = self._client("lambda").get_policy(FunctionName=function)["Policy"]
        if statement not in [one.get("Sid") for one in json.loads(text)["Statement"]]:
            return None
        name = function.rpartition(":")[2]
        return Found(f"{name}/{statement}", {CLUSTER_TAG: self._cluster})

    def _log_group(self, inputs: Mapping[str, Any]) -> Found | None:
        logs = self._client("logs")
        name = inputs["name"]
        for group in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
            if group["logGroupName"] == name:
                arn = group["arn"].removesuffix(":*")
                return Found(name, logs.list_tags_for_resource(resourceArn=arn).get("tags", {}))
        return None

    def _rule(self, inputs: Mapping[str, Any]) -> Found | None:
        events = self._client("events")
        arn = events.describe_rule(Name=inputs["name"])["Arn"]
        return Found(inputs["name"], _tags(events.list_tags_for_resource(ResourceARN=arn)))

    def _alarm(self, inputs: Mapping[str, Any]) -> Found | None:
        watch = self._client("cloudwatch")
        for alarm in watch.describe_alarms(AlarmNames=[inputs["name"]])["MetricAlarms"]:
            tags = watch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])
            return Found(alarm["AlarmName"], _tags(tags))
        return None

    def _queue(self, inputs: Mapping[str, Any]) -> Found | None:
        queues = self._client("sqs")
        url = queues.get_queue_url(QueueName=inputs["name"])["QueueUrl"]
        return Found(url, queues.list_queue_tags(QueueUrl=url).get("Tags", {}))

    def _secret(self, inputs: Mapping[str, Any]) -> Found | None:
        found = self._client("secretsmanager").describe_secret(SecretId=inputs["name"])
        return Found(found["ARN"], _tags(found))

    def _access_entry(self, inputs: Mapping[str, Any]) -> Found | None:
        cluster, principal = inputs["clusterName"], inputs["principalArn"]
        entry = self._client("eks").describe_access_entry(
            clusterName=cluster, principalArn=principal
        )["accessEntry"]
        return Found(f"{cluster}:{principal}", entry.get("tags", {}))


def _kubernetes_id(inputs: Mapping[str, Any]) -> str | None:
    """Spell the id as the provider does; refreshing drops an object that is not there."""
    metadata = inputs.get("metadata", {})
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not name:
        return None
    return f"{namespace}/{name}" if namespace else str(name)


def _tags(answer: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags") or []}


def half_written(folder: Path) -> list[Path]:
    """List files of attributes that are no JSON and stay so: no engine is writing them."""

    def broken() -> dict[Path, int]:
        found = {}
        for path in folder.rglob("*.attrs"):
            with contextlib.suppress(FileNotFoundError):
                try:
                    json.loads(path.read_text())
                except ValueError:
                    found[path] = path.stat().st_mtime_ns
        return found

    before = broken()
    if before:
        time.sleep(_WRITING_SECONDS)
    after = broken() if before else {}
    return sorted(path for path, moment in before.items() if after.get(path) == moment)


def orphans(folder: Path, processes: Path = Path("/proc")) -> list[tuple[int, str]]:
    """Plugins of this project whose engine is gone, as process ids and what they are.

    An engine puts its plugins into process groups of their own, so they outlive it when it is
    killed. Only processes of this user that work for this project in this folder count.
    """
    found = []
    for entry in sorted(processes.glob("[0-9]*")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.stat().st_uid != os.getuid():
                continue
            words = [word for word in (entry / "cmdline").read_text().split("\0") if word]
            what = next((w for w in words for plugin in _PLUGINS if plugin in w), None)
            if what is None or not _works_in(entry, folder):
                continue
            environment = (entry / "environ").read_text(errors="replace").split("\0")
            if f"PULUMI_PROJECT={PROJECT}" in environment and not _has_engine(entry, processes):
                found.append((int(entry.name), Path(what).name))
    return found


def _works_in(entry: Path, folder: Path) -> bool:
    return (entry / "cwd").resolve() == folder.resolve()


def _has_engine(entry: Path, processes: Path) -> bool:
    # The second field, the name, may hold blanks and brackets: what follows the last one counts.
    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
    words = (processes / parent / "cmdline").read_text().split("\0")
    return Path(words[0]).name == "pulumi"


def end(pid: int) -> None:
    """Ask a process to end, and make it after a few seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


def _say(line: str, stream: Any = None) -> None:
    (stream or sys.stdout).write(f"{line}\n")


if __name__ == "__main__":
    command_line.leave(main)
