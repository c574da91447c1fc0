"""Take-over of a connected cluster: `python -m castai_stack adopt`.

Reads AWS, Kubernetes and CAST AI, and writes nothing but a stack file and a report.
"""

import argparse
import contextlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from castai_stack.adopt import plan as adopt_plan
from castai_stack.adopt import written
from castai_stack.adopt.observations import Choices
from castai_stack.adopt.plan import Plan
from castai_stack.commands import command_line, output, target
from castai_stack.commands.command_line import CommandError, RefusedError
from castai_stack.commands.target import Target
from castai_stack.config.validation import SettingsError
from castai_stack.kube.kubeconfig import FROM_EKS

NAME = "adopt"
_STACK = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""Name of a stack: https://www.pulumi.com/docs/iac/concepts/stacks/"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = command_line.parser(
        NAME,
        "Say what another installer left for a cluster, and write a stack file that takes it over. "
        "Writes nothing elsewhere. AWS credentials and CASTAI_API_KEY come from the environment.",
        [
            "--cluster prod --region eu-central-1 --account-id 012345678901",
            "--cluster prod --region eu-central-1 --account-id 012345678901 --into . --stack prod",
        ],
    )
    target.add_stack_files(parser, "stack file that names the cluster, if there is one")
    target.add_cluster(parser)
    target.add_kubernetes(parser, FROM_EKS)
    target.add_format(parser, ("table", "json"), "table")
    files = parser.add_argument_group("files")
    files.add_argument("--into", type=Path, metavar="FOLDER", help="write the files there")
    files.add_argument("--stack", metavar="NAME", default="adopted", help="name of the stack")
    _add_choices(parser)

    def run(options: argparse.Namespace) -> int:
        about = target.from_arguments(options, target.stack_files(options, parser))
        _require_valid(about, options.stack)
        plan = _plan(about, _choices(options))
        try:
            texts = written.files(about, plan, options.stack)
        except SettingsError as error:
            raise CommandError(
                f"nothing was written, because what was found makes no valid stack file:\n{error}"
            ) from None
        if options.into is not None:
            _write(options.into, texts)
        if options.format == "json":
            output.line(json.dumps(written.as_dict(plan), indent=2))
        else:
            _print(about, plan, [options.into / name for name in texts] if options.into else [])
        return command_line.OK

    return command_line.execute(NAME, parser, run, arguments)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("choice among several candidates")
    group.add_argument("--cluster-id", metavar="ID", help="CAST AI's id of the cluster")
    group.add_argument("--principal", metavar="USER", help="user whose key CAST AI has")
    group.add_argument("--node-role", metavar="ROLE", help="role of the nodes")
    group.add_argument("--security-group", metavar="ID", help="group of the nodes")
    group.add_argument(
        "--accept-edited-policies",
        action="store_true",
        help="take policies over although somebody edited them",
    )


def _choices(options: argparse.Namespace) -> Choices:
    return Choices(
        cluster_id=options.cluster_id,
        principal=options.principal,
        node_role=options.node_role,
        security_group=options.security_group,
        accept_edited_policies=options.accept_edited_policies,
    )


def _plan(about: Target, choices: Choices) -> Plan:
    from castai_stack.adopt import reading  # noqa: PLC0415 - loads boto3 and lightkube

    key = os.environ.get("CASTAI_API_KEY", "").strip()
    if not key:
        raise CommandError("CAST AI: there is no API key; set CASTAI_API_KEY")
    url = os.environ.get("CASTAI_API_URL") or about.api_url
    plan, problems = adopt_plan.make(reading.observe(about, key, url, choices), choices)
    if plan is None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise RefusedError(f"nothing was written:\n{lines}")
    return plan


def _require_valid(about: Target, stack: str) -> None:
    """Refuse coordinates and a name that no stack file can have, before anything is asked."""
    if not _STACK.fullmatch(stack):
        raise CommandError(
            f"--stack: found {stack!r}; allowed: 1 to 100 letters, digits or any of _.-"
        )
    try:
        written.require_valid(about)
    except SettingsError as error:
        raise CommandError(f"{error}\nCorrect the arguments, or the stack file") from None


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write all files or none; one that exists is never overwritten."""
    files = [str(folder / name) for name in texts if (folder / name).exists()]
    if files:
        raise RefusedError(
            f"{', '.join(files)} exists, nothing was written; choose another --stack or --into"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            for name in texts:
                (folder / name).unlink(missing_ok=True)
        raise CommandError(f"{folder}: {error.strerror}; choose another folder") from None


def _print(about: Target, plan: Plan, paths: Sequence[Path]) -> None:
    rows = [(row.part, row.name, row.fate, row.remark) for row in plan.rows]
    output.table(("PART", "NAME", "WHAT HAPPENS", "REMARK"), rows)
    for line in plan.before:
        output.line(f"{NAME}: run before `pulumi up`: {line}", "yellow")
    for line in plan.commands:
        output.line(f"{NAME}: run afterwards: {line}", "yellow")
    imported = len(plan.settings["adoption"]["imports"])
    where = f"; wrote {', '.join(map(str, paths))}" if paths else "; --into FOLDER writes the files"
    output.line(
        f"{NAME}: cluster {about.cluster}: {imported} AWS objects to import{where}", "green"
    )
