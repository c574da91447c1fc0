"""One entry of kube-system/aws-auth as a resource; the rest of the map is somebody else's."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from castai_stack.access import entries, steps
from castai_stack.access.entries import AwsAuthError, Entry, Kind
from castai_stack.access.protocol import OVERRIDE_VARIABLE, EnsureEntry, Order, Outcome, RemoveEntry
from castai_stack.dynamic import run_settings
from castai_stack.dynamic.base import is_unknown
from castai_stack.kube import connection
from castai_stack.kube import kubeconfig as kube_kubeconfig


class AwsAuthEntryProvider(ResourceProvider):
    """Reads, merges and writes our entry; see `steps`."""

    def configure(self, req: ConfigureRequest) -> None:
        """Take what belongs to this run: the kubeconfig, where the stack names one, and overrides.

        A resource that an `up` deletes knows only the inputs from when it was made.
        """
        configuration = req.config.get("castai")
        self.reached_by = run_settings.configured(configuration)
        self.allowed = _allowed(configuration)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what can never be written, before anything is."""
        failures = []
        if not _unknown(news):
            try:
                _entry(news)
            except AwsAuthError as error:
                failures.append(CheckFailure("arn", str(error)))
        if kube_kubeconfig.holds_secret(str(news.get("kubeconfig", ""))):
            failures.append(
                CheckFailure(
                    "",  # with a name of a property, the engine would print its value
                    "the text of this kubeconfig holds a secret, which the state would keep; "
                    "give its path, `ambient`, or one that logs in by a program (exec)",
                )
            )
        return CheckResult(news, failures)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare what is wanted with what was found; how it gets there is no difference."""
        if _news.get("kind") != _olds.get("kind"):
            return DiffResult(changes=True, replaces=["kind"])
        if _unknown(_news):
            return DiffResult(changes=True)
        changed = _olds.get("live") != [_entry(_news).as_item()]
        return DiffResult(changes=changed)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Add the entry."""
        entry = _entry(props)
        self._write(
            props, EnsureEntry(entry, adopt=bool(props.get("adopt"))), self._overrides(props)
        )
        return CreateResult(f"{entries.WHERE}/{entry.key}", _outputs(props, entry))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Look for our entry, and at nothing else."""
        from castai_stack.access import writer  # noqa: PLC0415 - see `_client`

        with self._client(props) as client:
            live = steps.live_entries(writer.look(client).live, _entry(props))
        if live is None:
            return ReadResult("", {})
        return ReadResult(id_, {**props, "live": live})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Replace our entry, or move it to another ARN, in one write."""
        entry = _entry(_news)
        order = EnsureEntry(entry, previous=_entry(_olds), adopt=bool(_news.get("adopt")))
        self._write(_news, order, self._overrides(_news))
        return UpdateResult(_outputs(_news, entry))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Take our entry out."""
        self._write(_props, RemoveEntry(_entry(_props)), self._overrides(_props))

    def _write(self, props: dict[str, Any], order: Order, overrides: frozenset[str]) -> Outcome:
        from castai_stack.access import writer  # noqa: PLC0415 - see `_client`

        with self._client(props) as client:
            outcome = writer.write(client, order, overrides)
        for warning in outcome.warnings:
            sys.stderr.write(f"warning: {warning}\n")
        return outcome

    def _overrides(self, props: dict[str, Any]) -> frozenset[str]:
        named = os.environ.get(OVERRIDE_VARIABLE, "").split(",")
        given = props.get("override_guards") or ()
        return self.allowed | {each.strip() for each in named} | frozenset(map(str, given))

    def _client(self, props: dict[str, Any]) -> Any:
        # Clients are heavy to import, and most runs only compare.
        kubeconfig, context = self.reached_by or (props["kubeconfig"], props.get("context"))
        return connection.connect(kubeconfig, context)


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


def _allowed(configuration: Any) -> frozenset[str]:
    try:
        return frozenset(map(str, json.loads(configuration)["access"]["overrideGuards"]))
    except (TypeError, ValueError, KeyError):
        return frozenset()


class AwsAuthEntry(Resource, module="castai", name="AwsAuthEntry"):
    """Maps one role or user in kube-system/aws-auth."""

    arn: pulumi.Output[str]
    """The mapped ARN; a role's without its path in the map."""

    def __init__(
        self,
        name: str,
        *,
        kind: Kind,
        arn: pulumi.Input[str],
        username: str,
        groups: Sequence[str],
        kubeconfig: str,
        context: str | None = None,
        adopt: bool = False,
        override_guards: Sequence[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AwsAuthEntryProvider(),
            name,
            {
                "kind": kind,
                "arn": arn,
                "username": username,
                "groups": list(groups),
                "adopt": adopt,
                "override_guards": list(override_guards),
                "kubeconfig": kubeconfig,
                "context": context,
            },
            opts,
        )


class AccessEntryPlaceProvider(ResourceProvider):
    """Looks once, when it is created; refuses or clears what stands there."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Refuse an entry that exists, or delete it when it may be adopted."""
        import boto3  # noqa: PLC0415 - heavy, and most runs only compare
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        cluster, arn = props["cluster_name"], props["principal_arn"]
        which = {"clusterName": cluster, "principalArn": arn}
        try:
            eks = boto3.client("eks", region_name=props["region"])
            found = _found(eks, which)
            if found is not None and not props["adopt"]:
                raise RuntimeError(
                    f"cluster {cluster}: an access entry for {arn} exists (type {found['type']}, "
                    f"groups {found.get('kubernetesGroups', [])}), and this program did not make "
                    "it; set access.adopt to take it over, which also removes it on destroy, or "
                    "delete it first"
                )
            if found is not None:
                sys.stderr.write(
                    f"warning: cluster {cluster}: the access entry for {arn} is made anew, because "
                    "an entry admits only the principal that existed when it was made\n"
                )
                eks.delete_access_entry(**which)
        except (BotoCoreError, ClientError) as error:
            raise RuntimeError(
                f"cluster {cluster}: cannot look for an access entry of {arn}: {error}"
            ) from None
        return CreateResult(f"{cluster}:{arn}", props)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Look again for another principal only: what stands there later is our own entry."""
        wanted = _news.get("principal_arn")
        moved = not is_unknown(wanted) and wanted != _olds.get("principal_arn")
        return DiffResult(changes=moved, replaces=["principal_arn"] if moved else [])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Answer what is known; there is nothing to look at."""
        return ReadResult(id_, props)


def _found(eks: Any, which: dict[str, str]) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = eks.describe_access_entry(**which)["accessEntry"]
    except eks.exceptions.ResourceNotFoundException:
        return None
    return found


class AccessEntryPlace(Resource, module="castai", name="AccessEntryPlace"):
    """The place of one access entry, free for ours."""

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        region: str,
        principal_arn: pulumi.Input[str],
        adopt: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AccessEntryPlaceProvider(),
            name,
            {
                "cluster_name": cluster_name,
                "region": region,
                "principal_arn": principal_arn,
                "adopt": adopt,
            },
            opts,
        )
