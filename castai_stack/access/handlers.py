"""Handlers of the mapping: one entry of kube-system/aws-auth, and the place of an access entry."""

import os
from typing import Any, ClassVar

from castai_stack.access import entries, steps
from castai_stack.access.entries import AwsAuthError, Entry, Kind
from castai_stack.access.protocol import OVERRIDE_VARIABLE, EnsureEntry, Order, Outcome, RemoveEntry
from castai_stack.kube import connection
from castai_stack.plugin.handler import (
    GONE,
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Handler,
    Property,
    ReadResult,
    UpdateResult,
)
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.values import is_unknown

_ATTEMPTS = 10
"""Of a request to EKS; many stacks of one account are throttled together."""


class AwsAuthEntryHandler(Handler):
    """Reads, merges and writes one entry by the requests of `access.steps`."""

    name = "AwsAuthEntry"
    properties: ClassVar = {
        "kind": Property("string"),
        "arn": Property("string"),
        "username": Property("string"),
        "groups": Property("strings"),
        "adopt": Property("boolean", required=False),
        "live": Property("objects", computed=True),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what can never be written, before anything is."""
        failures = []
        if not _unknown(news):
            try:
                _entry(news)
            except AwsAuthError as error:
                failures.append(CheckFailure("arn", str(error)))
        return CheckResult(news, failures)

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare what is wanted with what was found; how it gets there is no difference."""
        if news.get("kind") != olds.get("kind"):
            return DiffResult(changes=True, replaces=["kind"])
        if _unknown(news):
            return DiffResult(changes=True)
        changed = olds.get("live") != [_entry(news).as_item()]
        return DiffResult(changes=changed)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Add the entry."""
        entry = _entry(props)
        self._write(EnsureEntry(entry, adopt=bool(props.get("adopt"))))
        return CreateResult(f"{entries.WHERE}/{entry.key}", _outputs(props, entry))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Read the entry's items, also under the ARN to which a killed run moved the entry."""
        from castai_stack.access import writer  # noqa: PLC0415 - see `_client`

        entry = _entry(props)
        with self._client() as client:
            snapshot = writer.look(client).live
        live = steps.live_entries(snapshot, entry)
        if live is None and (moved := steps.moved_entry(snapshot, entry)) is not None:
            props = {**props, "arn": moved.arn}
            live = steps.live_entries(snapshot, moved)
        if live is None:
            return GONE
        return ReadResult(id_, {**props, "live": live})

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Replace the entry, or move it to another ARN, in one write."""
        entry = _entry(news)
        order = EnsureEntry(entry, previous=_entry(olds), adopt=bool(news.get("adopt")))
        self._write(order)
        return UpdateResult(_outputs(news, entry))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Remove the entry."""
        self._write(RemoveEntry(_entry(props)))

    def _write(self, order: Order) -> Outcome:
        from castai_stack.access import writer  # noqa: PLC0415 - see `_client`

        named = os.environ.get(OVERRIDE_VARIABLE, "").split(",")
        overrides = {*self.run.settings.override_guards, *(each.strip() for each in named)}
        with self._client() as client:
            outcome = writer.write(client, order, frozenset(overrides))
        for warning in outcome.warnings:
            self.run.warn(warning)
        return outcome

    def _client(self) -> Any:
        # Clients are heavy to import, and most runs only compare.
        return connection.connect(self.run.settings.kubeconfig, self.run.settings.context)


def _unknown(props: dict[str, Any]) -> bool:
    groups = props.get("groups")
    parts = groups if isinstance(groups, list) else [groups]
    return any(map(is_unknown, (props.get("arn"), props.get("username"), *parts)))


def _entry(props: dict[str, Any]) -> Entry:
    kind: Kind = "user" if props["kind"] == "user" else "role"
    make = entries.user if kind == "user" else entries.role
    return make(props["arn"], props["username"], props["groups"])


def _outputs(props: dict[str, Any], entry: Entry) -> dict[str, Any]:
    return {**props, "live": [entry.as_item()]}


class AccessEntryPlaceHandler(Handler):
    """Looks once, when it is created; refuses or clears what stands there."""

    name = "AccessEntryPlace"
    properties: ClassVar = {
        "cluster_name": Property("string"),
        "region": Property("string"),
        "principal_arn": Property("string"),
        "adopt": Property("boolean"),
        "imported": Property("boolean", required=False),
    }

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Refuse an entry that exists, or delete it when it may be adopted.

        One that this run imports stays as it is.
        """
        if props.get("imported"):
            return CreateResult(f"{props['cluster_name']}:{props['principal_arn']}", props)
        import boto3  # noqa: PLC0415 - heavy, and most runs only compare
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        cluster, arn = props["cluster_name"], props["principal_arn"]
        which = {"clusterName": cluster, "principalArn": arn}
        try:
            patient = Config(retries={"mode": "standard", "total_max_attempts": _ATTEMPTS})
            eks = boto3.client("eks", region_name=props["region"], config=patient)
            entry = _existing_entry(eks, which)
            if entry is not None and not props["adopt"]:
                raise ResourceError(
                    f"cluster {cluster}: an access entry for {arn} exists (type {entry['type']}, "
                    f"groups {entry.get('kubernetesGroups', [])}), and this program did not make "
                    "it; set access.adopt to take it over, which also removes it on destroy, or "
                    "delete it first"
                )
            if entry is not None:
                self.run.warn(
                    f"cluster {cluster}: the access entry for {arn} is created again, because "
                    "an entry admits only the principal that existed when it was made"
                )
                eks.delete_access_entry(**which)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            reason = str(error)
            if isinstance(error, ResponseParserError):  # it quotes the answer
                reason = "AWS's answer is incomplete; run the same command again"
            raise ResourceError(
                f"cluster {cluster}: cannot look for an access entry of {arn}: {reason}"
            ) from None
        return CreateResult(f"{cluster}:{arn}", props)

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Look again for another principal only: what stands there later is our own entry."""
        wanted = news.get("principal_arn")
        moved = not is_unknown(wanted) and wanted != olds.get("principal_arn")
        return DiffResult(changes=moved, replaces=["principal_arn"] if moved else [])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep the outputs; there is no object to read."""
        return ReadResult(id_, props)


def _existing_entry(eks: Any, which: dict[str, str]) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = eks.describe_access_entry(**which)["accessEntry"]
    except eks.exceptions.ResourceNotFoundException:
        return None
    return entry
