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
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from castai_stack import command_line, killed_engine, pending_creates
from castai_stack.audit import clients
from castai_stack.killed_engine import PROJECT
from castai_stack.leftovers import CLUSTER_TAG
from castai_stack.pending_creates import Pending, Places, tags_of
from castai_stack.resources.service import DEFAULT_URL, TAKE_OVER

if TYPE_CHECKING:
    from castai_stack.castai_api import CastaiApi

ACCESS_KEY = "aws:iam/accessKey:AccessKey"
OK, FAILED = 0, 1

_FILES = "file://"


class RecoveryError(Exception):
    """Recovery cannot go on; the message says what to do."""


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
        _say(f"{error}", sys.stderr)
        return FAILED
    except (BotoCoreError, ClientError) as error:
        _say(f"AWS: {error}", sys.stderr)
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
        for path in killed_engine.half_written(folder):
            if dry_run:
                raise RecoveryError(f"{path} is half written; run this without --dry-run")
            _say(f"{path.name}: half written, removed; the state does not need it")
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
        pending = list(pending_creates.begun(deployment))
        if pending or pending_creates.updates_hand_over(deployment):
            self._settle(
                deployment, pending, Places(client, self._engine.api, cluster["name"], _say)
            )
        self._keys(deployment, pending, client("iam"), cluster["name"])
        would = "would be " if self._dry_run else ""
        _say(
            f"stack {self._engine.stack} {would}in order; run `pulumi up` to go on, or "
            "`pulumi destroy` to take everything away"
        )

    def _end_orphans(self) -> None:
        for pid, what in killed_engine.orphans(self._engine.folder):
            _say(f"plugin without an engine, process {pid} ({what}): ended")
            if not self._dry_run:
                killed_engine.end(pid)

    def _unlock(self) -> None:
        if self._dry_run:
            return
        # A stack that is not locked takes this as well as one that is.
        with contextlib.suppress(RecoveryError):
            self._engine.run("cancel", "--yes")

    def _settle(
        self, deployment: Mapping[str, Any], pending: Sequence[Pending], places: Places
    ) -> None:
        known = {resource["urn"] for resource in deployment.get("resources") or ()}
        taken: dict[str, str] = {}
        for one in pending:
            # The predecessor is still there: the next run replaces it from the beginning.
            found = None if one.urn in known else places.look(one)
            if found is None:
                _say(f"{one.name} ({one.type}): not there, or without effect; forgotten")
            else:
                _say(f"{one.name} ({one.type}): taken into the state as {found}")
                taken[one.urn] = found
        hand_over = pending_creates.updates_hand_over(deployment)
        if hand_over:
            _say("the interrupted hand-over counts as this stack's own")
        if self._dry_run:
            return
        self._engine.replace_deployment(pending_creates.settled(deployment, taken))
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
                    _say(f"access key {key_id} of {user}: its secret is lost; deleted")
                    if not self._dry_run:
                        iam.delete_access_key(UserName=user, AccessKeyId=key_id)
                else:
                    _say(
                        f"access key {key_id} of {user} is not this stack's; left alone. "
                        f"If nobody needs it, run again with --delete-key {key_id}"
                    )


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
        tags = tags_of(iam.list_user_tags(UserName=user))
        if tags.get(CLUSTER_TAG) != cluster:
            return []
        return list(iam.list_access_keys(UserName=user)["AccessKeyMetadata"])
    except iam.exceptions.NoSuchEntityException:
        return []


def _say(line: str, stream: Any = None) -> None:
    (stream or sys.stdout).write(f"recover: {line}\n")


if __name__ == "__main__":
    command_line.leave(main)
