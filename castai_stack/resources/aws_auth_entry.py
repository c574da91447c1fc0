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

from castai_stack import aws_auth, aws_auth_steps, kubernetes_access
from castai_stack.aws_auth import AwsAuthError, Entry, Kind
from castai_stack.aws_auth_steps import OVERRIDE_VARIABLE, Order, Outcome, Put, Remove
from castai_stack.resources.unknown import is_unknown


class AwsAuthEntryProvider(ResourceProvider):
    """Reads, merges and writes our entry; see `aws_auth_steps` for how."""

    def configure(self, req: ConfigureRequest) -> None:
        """Take what belongs to this run: the kubeconfig, where the stack names one, and overrides.

        A resource that an `up` deletes knows only the inputs from when it was made.
        """
        configuration = req.config.get("castai")
        self.reached_by = kubernetes_access.configured(configuration)
        self.allowed = _allowed(configuration)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what can never be written, before anything is."""
        failures = []
        if not _unknown(news):
            try:
                _entry(news)
            except AwsAuthError as error:
                failures.append(CheckFailure("arn", str(error)))
        if kubernetes_access.holds_secret(str(news.get("kubeconfig", ""))):
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
        self._write(props, Put(entry, adopt=bool(props.get("adopt"))), self._overrides(props))
        return CreateResult(f"{aws_auth.WHERE}/{entry.key}", _outputs(props, entry))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Look for our entry, and at nothing else."""
        from castai_stack import aws_auth_writer  # noqa: PLC0415 - see `_client`

        with self._client(props) as client:
            live = aws_auth_steps.live_entries(aws_auth_writer.look(client).live, _entry(props))
        if live is None:
            return ReadResult("", {})
        return ReadResult(id_, {**props, "live": live})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Replace our entry, or move it to another ARN, in one write."""
        entry = _entry(_news)
        order = Put(entry, was=_entry(_olds), adopt=bool(_news.get("adopt")))
        self._write(_news, order, self._overrides(_news))
        return UpdateResult(_outputs(_news, entry))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Take our entry out."""
        self._write(_props, Remove(_entry(_props)), self._overrides(_props))

    def _write(self, props: dict[str, Any], order: Order, overrides: frozenset[str]) -> Outcome:
        from castai_stack import aws_auth_writer  # noqa: PLC0415 - see `_client`

        with self._client(props) as client:
            outcome = aws_auth_writer.write(client, order, overrides)
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
        return kubernetes_access.connect(kubeconfig, context)


def _unknown(props: dict[str, Any]) -> bool:
    groups = props.get("groups")
    parts = groups if isinstance(groups, list) else [groups]
    return any(map(is_unknown, (props.get("arn"), props.get("username"), *parts)))


def _entry(props: dict[str, Any]) -> Entry:
    kind: Kind = "user" if props["kind"] == "user" else "role"
    make = aws_auth.user if kind == "user" else aws_auth.role
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
