"""State of a connection and its automation: `python -m castai_stack status`.

Reads CAST AI, Kubernetes and AWS, and writes nothing.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from castai_stack.agent.names import AGENT, NAMESPACE
from castai_stack.automation import status
from castai_stack.automation.names import CONTROLLER
from castai_stack.automation.status import Line
from castai_stack.commands import castai_account, command_line, output, target
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.target import Target
from castai_stack.config.model import StackConfig

NAME = "status"
_UNUSED = frozenset(StackConfig.model_fields) - {"cluster", "api", "automation", "credentials"}
"""Sections that the command does not use, so encrypted values there do no harm."""


class Answers:
    """Lines that could be found out, and the sentences of what could not be asked."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.problems: list[str] = []

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Note a failure of the block, which hides no other line."""
        try:
            yield
        except CommandError as error:
            self.problems.append(str(error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = command_line.parser(
        NAME,
        "Show in one table what is connected and what CAST AI does, and what is missing, for one "
        "stack or for many. AWS credentials and CASTAI_API_KEY come from the environment.",
        ["Pulumi.prod.yaml", "Pulumi.*.yaml", "Pulumi.prod.yaml --format json"],
    )
    target.add_stack_files(parser, "Pulumi stack files, such as Pulumi.prod.yaml", most=target.MANY)
    target.add_format(parser, ("table", "json"), "table")

    def run(options: argparse.Namespace) -> int:
        paths = target.stack_files(options, parser, least=1, most=target.MANY)
        stacks = [(path, target.read_stack_file(path, unused=_UNUSED)) for path in paths]
        results = [(path, settings, find_out(settings)) for path, settings in stacks]
        output.stack_reports(
            NAME,
            ("PART", "STATE", "TO DO"),
            [_report(*one) for one in results],
            as_json=options.format == "json",
        )
        if any(answers.problems for *_, answers in results):
            return command_line.FAILED
        wanting = any(line.to_do for *_, answers in results for line in answers.lines)
        return command_line.NEGATIVE if wanting else command_line.OK

    return command_line.execute(NAME, parser, run, arguments)


def find_out(settings: StackConfig) -> Answers:
    """Ask the three places one after the other; a problem in one hides no line of another."""
    answers, about = Answers(), Target.of(settings)
    pods = {"agent": "its pods were not asked for", "controller": "its pods were not asked for"}
    with answers.asking():
        pods = _pods(about)
    with answers.asking():
        answers.lines += _at_castai(settings, about, pods)
    if settings.principal is not None and settings.principal.has_keys:
        with answers.asking():
            answers.lines += _keys(settings, about)
    return answers


def _pods(about: Target) -> dict[str, str]:
    from lightkube.resources.core_v1 import Event, Pod  # noqa: PLC0415

    from castai_stack.commands.cluster import connected  # noqa: PLC0415
    from castai_stack.kube.pods import diagnose  # noqa: PLC0415

    with connected(about) as client:
        events = [one.to_dict() for one in client.list(Event, namespace=NAMESPACE)]

        def described(name: str) -> str:
            labels: dict[str, Any] = {"app.kubernetes.io/name": name}
            pods = client.list(Pod, namespace=NAMESPACE, labels=labels)
            return diagnose([pod.to_dict() for pod in pods], events)

        return {"agent": described(AGENT), "controller": described(CONTROLLER)}


def _at_castai(settings: StackConfig, about: Target, pods: dict[str, str]) -> list[Line]:
    from castai_stack.castai.automation_api import AutomationApi  # noqa: PLC0415

    key = os.environ.get("CASTAI_API_KEY", "").strip()
    if not key:
        raise CommandError(
            "CAST AI: there is no API key; set CASTAI_API_KEY (the stack's own is encrypted)"
        )
    with castai_account.asking():
        api = AutomationApi(os.environ.get("CASTAI_API_URL") or about.api_url, key)
        cluster = _cluster(api, settings, about)
        lines = [status.registration(cluster)]
        if cluster is None:
            return lines
        lines.append(status.agent(cluster, pods["agent"]))
        if settings.principal is None:
            return [*lines, status.nodes(api.list_nodes(cluster.id))]
        wanted = settings.automation.nodes.name if settings.sets_nodes else None
        return [
            *lines,
            status.controller(settings.automation, pods["controller"]),
            status.credentials(cluster),
            status.node_configuration(api.node_configurations(cluster.id), wanted),
            status.policies(
                api.policies(cluster.id),
                api.policies_v1(cluster.id),
                wanted=settings.autoscales,
            ),
            status.evictor(
                api.evictor(cluster.id),
                wanted=settings.acts_in_cluster and settings.automation.evictor.enabled,
            ),
            status.nodes(api.list_nodes(cluster.id)),
        ]


def _cluster(api: Any, settings: StackConfig, about: Target) -> Any:
    if settings.api.cluster_id is not None:
        return api.get_cluster(settings.api.cluster_id)
    return next(castai_account.registered(api, about), None)


def _keys(settings: StackConfig, about: Target) -> list[Line]:
    from castai_stack.commands.aws_clients import asking, clients  # noqa: PLC0415

    user = settings.resource_names.principal
    with asking(f"the access keys of user {user}"):
        iam = clients(about.region, about.account_id)("iam")
        try:
            keys = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        except iam.exceptions.NoSuchEntityException:
            return [Line("access key", f"no user {user}", "`pulumi up` creates it")]
    return status.access_keys(keys, datetime.now(UTC))


def _report(path: Path, settings: StackConfig, answers: Answers) -> output.StackReport:
    cluster = settings.cluster
    return output.StackReport(
        target.stack_name(path),
        [tuple(asdict(line).values()) for line in answers.lines],
        {
            "cluster": cluster.name,
            "region": cluster.region,
            "accountId": cluster.account_id,
            "parts": [
                {"part": line.part, "state": line.state, "toDo": line.to_do}
                for line in answers.lines
            ],
        },
        answers.problems,
    )
