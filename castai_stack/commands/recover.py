"""After a run that was killed: `python -m castai_stack recover`.

A killed engine leaves a lock, plugins without a parent, and creates of which nobody knows whether
they happened. This takes the lock away, ends those plugins, takes into the state what bears our
exact name and tag, forgets creates that never happened or may be repeated, and deletes access
keys whose secret was lost with the engine. Then `pulumi up` or `pulumi destroy` goes on.
"""

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from castai_stack.castai.provider import TAKE_OVER
from castai_stack.commands import killed_engine, pending_creates
from castai_stack.commands.aws_clients import clients
from castai_stack.commands.command_line import report_progress
from castai_stack.commands.engine import Engine, RecoveryError
from castai_stack.commands.killed_engine import PROJECT
from castai_stack.commands.pending_creates import Pending, Places, tags_of
from castai_stack.naming import CLUSTER_TAG

ACCESS_KEY = "aws:iam/accessKey:AccessKey"
OK, FAILED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack recover",
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

    from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - help needs none

    try:
        engine = Engine(given.cwd)
        engine.mend(dry_run=given.dry_run)
        engine.select(given.stack)
        Recovery(engine, dry_run=given.dry_run, delete_keys=given.delete_key).run()
    except (RecoveryError, CastaiError) as error:
        report_progress(f"{error}", sys.stderr)
        return FAILED
    except (BotoCoreError, ClientError) as error:
        report_progress(f"AWS: {error}", sys.stderr)
        return FAILED
    return OK


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
        # A delete or an update may have happened, too; the refresh of `_settle` finds out.
        if deployment.get("pending_operations"):
            self._settle(
                deployment,
                pending,
                Places(client, self._engine.api, cluster["name"], report_progress),
            )
        self._keys(deployment, pending, client("iam"), cluster["name"])
        would = "would be " if self._dry_run else ""
        report_progress(
            f"stack {self._engine.stack} {would}in order; run `pulumi up` to go on, or "
            "`pulumi destroy` to take everything away"
        )

    def _end_orphans(self) -> None:
        for pid, what in killed_engine.orphans(self._engine.folder):
            report_progress(f"plugin without an engine, process {pid} ({what}): ended")
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
        existing = pending_creates.existing(deployment)
        taken: dict[str, str] = {}
        for one in pending:
            # The predecessor is still there: the next run replaces it from the beginning.
            found = None if one.urn in existing else places.look(one)
            if found is None:
                report_progress(f"{one.name} ({one.type}): not there, or without effect; forgotten")
            else:
                report_progress(f"{one.name} ({one.type}): taken into the state as {found}")
                taken[one.urn] = found
        hand_over = pending_creates.updates_hand_over(deployment)
        if hand_over:
            report_progress("the interrupted hand-over counts as this stack's own")
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
                    report_progress(f"access key {key_id} of {user}: its secret is lost; deleted")
                    if not self._dry_run:
                        iam.delete_access_key(UserName=user, AccessKeyId=key_id)
                else:
                    report_progress(
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
