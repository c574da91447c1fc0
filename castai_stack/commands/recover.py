"""Recovery after a run was killed: `python -m castai_stack recover`.

A killed engine leaves a lock, plugins without a parent, and operations of which the state does not
know whether they happened. The recovery cancels the lock, ends the plugins, waits for objects that
are being deleted, imports objects that carry this cluster's exact name and tag, drops creates that
never happened or may be repeated, and deletes access keys whose secret was lost with the engine.
It does nothing while an engine of the project still runs. Then `pulumi up` or `pulumi destroy`
goes on.
"""

import argparse
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from castai_stack.castai.provider import TAKE_OVER
from castai_stack.commands import (
    aws_kinds,
    command_line,
    departures,
    killed_engine,
    output,
    pending_creates,
)
from castai_stack.commands.aws_clients import asking, clients
from castai_stack.commands.command_line import RefusedError
from castai_stack.commands.engine import Engine, RecoveryError
from castai_stack.commands.pending_creates import PendingLookup
from castai_stack.commands.target import Target
from castai_stack.naming import CLUSTER_TAG

NAME = "recover"
ACCESS_KEY = "aws:iam/accessKey:AccessKey"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = command_line.parser(
        NAME,
        "Put a stack in order after its engine was killed. Uses the pulumi on PATH, with the "
        "backend, passphrase and AWS credentials of this shell. Refuses while an engine of the "
        "project runs on this machine, and while the owner of the stack's lock may be alive.",
        [
            "--stack prod --dry-run",
            "--stack prod",
            "--stack prod --delete-key AKIAIOSFODNN7EXAMPLE",
        ],
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
        "--cancel-lock",
        action="store_true",
        help="cancel a lock that was taken on another machine, where its run has surely ended",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only report what would be done, change nothing"
    )

    def run(options: argparse.Namespace) -> int:
        engine = Engine(options.cwd)
        refuse_live_engine(options.cwd)
        engine.repair(dry_run=options.dry_run)
        engine.select(options.stack)
        Recovery(
            engine,
            dry_run=options.dry_run,
            delete_keys=options.delete_key,
            cancel_lock=options.cancel_lock,
        ).run()
        return command_line.OK

    return command_line.execute(NAME, parser, run, arguments)


def refuse_live_engine(folder: Path) -> None:
    """Raise RefusedError while an engine of the project in this folder runs."""
    for engine in killed_engine.engines(folder):
        raise RefusedError(
            f"an engine of this project is alive: `pulumi {engine.command}`, process {engine.pid}. "
            "Wait until it ends, or interrupt it "
            f"(`kill -INT {engine.pid}`), and run this again"
        )


def report(text: str) -> None:
    """Write one line of progress."""
    output.line(f"{NAME}: {text}")


class Recovery:
    """The steps, in their order."""

    def __init__(
        self,
        engine: Engine,
        *,
        dry_run: bool = False,
        delete_keys: Sequence[str] = (),
        cancel_lock: bool = False,
    ) -> None:
        self._engine = engine
        self._dry_run = dry_run
        self._delete_keys = delete_keys
        self._cancel_lock = cancel_lock

    def run(self) -> None:
        """Do and report everything that is needed."""
        target = Target.of(self._engine.settings())
        client = clients(target.region, target.account_id)
        self._unlock()
        self._end_orphans()
        deployment = self._engine.deployment()
        if deployment.get("pending_operations"):
            lookup = PendingLookup(client, self._engine.api, target, report)
            self._settle(deployment, lookup, target)
        with asking("access keys"):
            self._keys(deployment, client("iam"), target.cluster)
        would = "would be " if self._dry_run else ""
        report(
            f"stack {self._engine.stack} {would}in order; run `pulumi up` to go on, or "
            "`pulumi destroy` to take everything away"
        )

    def _unlock(self) -> None:
        for lock in self._engine.locks():
            if lock.local and lock.owner_lives():
                raise RefusedError(
                    f"stack {self._engine.stack} is locked by a live engine: {lock}. Wait until "
                    "it ends, or interrupt it, and run this again"
                )
            if not lock.local and not self._cancel_lock:
                raise RefusedError(
                    f"stack {self._engine.stack} is locked from another machine: {lock}. Make sure "
                    "that this run has ended, and run this again with --cancel-lock"
                )
        if not self._dry_run:
            # Pulumi accepts the command for a stack without a lock, too; some backends refuse it.
            with contextlib.suppress(RecoveryError):
                self._engine.run("cancel", "--yes")

    def _end_orphans(self) -> None:
        backend = os.environ.get(killed_engine.BACKEND)
        for pid, name in killed_engine.orphans(self._engine.folder, backend):
            report(f"plugin without an engine, process {pid} ({name}): ended")
            if not self._dry_run:
                killed_engine.end(pid)

    def _settle(self, deployment: Mapping[str, Any], lookup: PendingLookup, target: Target) -> None:
        """Bring the state in line with every operation that was interrupted."""
        if not self._dry_run:
            departures.await_kubernetes(deployment, target, report)
            departures.await_aws(deployment, lookup, report)
            departures.await_castai(deployment, lookup, report)
        existing = pending_creates.existing(deployment)
        imported: dict[str, str] = {}
        for create in pending_creates.pending(deployment, "creating"):
            # With the predecessor still in the state, the next run replaces it from the beginning.
            import_id = None if create.urn in existing else lookup.import_id(create)
            if import_id is None:
                report(f"{create.name} ({create.type}): absent, or without effect; dropped")
            else:
                report(f"{create.name} ({create.type}): taken into the state as {import_id}")
                imported[create.urn] = import_id
        for delete in pending_creates.pending(deployment, "deleting"):
            report(f"{delete.name} ({delete.type}): its delete was interrupted; read again")
        hand_over = pending_creates.updates_hand_over(deployment)
        if hand_over:
            report("the interrupted hand-over counts as this stack's own")
        if self._dry_run:
            return
        self._engine.replace_deployment(pending_creates.settled(deployment, imported))
        self._engine.run(
            "refresh",
            "--yes",
            "--skip-preview",
            environment={TAKE_OVER: "yes"} if hand_over else None,
        )

    def _keys(self, deployment: Mapping[str, Any], iam: Any, cluster: str) -> None:
        """Delete keys whose secret was lost, and report those that the stack does not know."""
        in_state = {
            resource.get("id")
            for resource in deployment.get("resources") or ()
            if resource["type"] == ACCESS_KEY
        }
        interrupted = {
            str(create.inputs.get("user", ""))
            for create in pending_creates.pending(deployment, "creating")
            if create.type == ACCESS_KEY
        }
        for user in sorted(users_of(deployment) | interrupted):
            for key in keys_of(iam, user, cluster):
                key_id = key["AccessKeyId"]
                if key_id in in_state:
                    continue
                # AWS shows a secret once, here to the engine that was killed. So nobody else can
                # have used the key.
                last = iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
                lost = user in interrupted and "LastUsedDate" not in last
                if lost or key_id in self._delete_keys:
                    report(f"access key {key_id} of {user}: its secret is lost; deleted")
                    if not self._dry_run:
                        iam.delete_access_key(UserName=user, AccessKeyId=key_id)
                else:
                    report(
                        f"access key {key_id} of {user} is not this stack's; left alone. "
                        f"If nobody needs it, run again with --delete-key {key_id}"
                    )


def users_of(deployment: Mapping[str, Any]) -> set[str]:
    """Users in the state."""
    return {
        str(resource["id"])
        for resource in deployment.get("resources") or ()
        if resource["type"] == "aws:iam/user:User" and resource.get("id")
    }


def keys_of(iam: Any, user: str, cluster: str) -> list[dict[str, Any]]:
    """Keys of a user with this cluster's tag; empty for every other user."""
    try:
        tags = aws_kinds.tags(iam.list_user_tags(UserName=user))
        if tags.get(CLUSTER_TAG) != cluster:
            return []
        return list(iam.list_access_keys(UserName=user)["AccessKeyMetadata"])
    except iam.exceptions.NoSuchEntityException:
        return []
