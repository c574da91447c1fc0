"""Cluster that a command is about, from a stack file or from arguments."""

import argparse
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from castai_stack.commands.command_line import CommandError
from castai_stack.config import stack_file
from castai_stack.config.model import StackConfig
from castai_stack.config.validation import SettingsError
from castai_stack.kube.kubeconfig import AMBIENT, FROM_EKS
from castai_stack.plugin.run import DEFAULT_URL

MANY = 1000
"""Stack files of a command that takes any number of them."""
_UNUSED = frozenset(StackConfig.model_fields) - {"cluster", "api", "adoption"}
"""Sections that no target needs, so encrypted values there do no harm."""


@dataclass(frozen=True, slots=True)
class Target:
    """One cluster and the ways to reach what belongs to it."""

    cluster: str
    region: str
    account_id: str
    kubeconfig: str = FROM_EKS
    context: str | None = None
    api_url: str = DEFAULT_URL
    adopted: frozenset[str] = frozenset()
    """Ids of the objects of other installers that the stack takes over."""

    @classmethod
    def of(cls, settings: StackConfig) -> "Target":
        """Return the target of a stack's settings."""
        cluster = settings.cluster
        return cls(
            cluster=cluster.name,
            region=cluster.region,
            account_id=cluster.account_id,
            kubeconfig=cluster.kubeconfig,
            context=cluster.context,
            api_url=settings.api.url,
            adopted=frozenset(settings.adoption.imports.values()),
        )


def add_stack_files(parser: argparse.ArgumentParser, text: str, *, most: int = 1) -> None:
    """Let a command take up to `most` stack files, as positional arguments or as options."""
    group = parser.add_argument_group("stack file")
    group.add_argument("positional_files", type=Path, nargs="*", metavar="STACK_FILE", help=text)
    group.add_argument(
        "--stack-file",
        dest="named_files",
        type=Path,
        action="append",
        default=[],
        metavar="STACK_FILE",
        help="the same as an option" + ("; repeatable" if most > 1 else ""),
    )


def stack_files(
    options: argparse.Namespace, parser: argparse.ArgumentParser, *, least: int = 0, most: int = 1
) -> Sequence[Path]:
    """Return the stack files; ends the command when there are too few or too many."""
    paths = [*options.named_files, *options.positional_files]
    if not least <= len(paths) <= most:
        allowed = str(most) if least == most else f"{least} to {most}"
        allowed = f"{least} or more" if most == MANY else allowed
        parser.error(f"{len(paths)} stack files are given; allowed: {allowed}")
    return paths


def stack_name(path: Path) -> str:
    """Return the name of a stack by its file, such as `prod` for `Pulumi.prod.yaml`."""
    match = re.fullmatch(r"Pulumi\.(.+)\.ya?ml", path.name)
    return match[1] if match else path.stem


def read_stack_file(path: Path, *, unused: Collection[str] = _UNUSED) -> StackConfig:
    """Return the settings of a stack file; raises CommandError with all of its problems."""
    try:
        return stack_file.read(path, unused=unused)
    except SettingsError as error:
        raise CommandError(str(error)) from None


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Let a command take the cluster's coordinates; they win over a stack file."""
    group = parser.add_argument_group("cluster, instead of a stack file or over it")
    group.add_argument("--cluster", metavar="NAME", help="name of the EKS cluster")
    group.add_argument("--region", metavar="REGION", help="region of the cluster")
    group.add_argument("--account-id", metavar="ID", help="AWS account of the cluster")
    group.add_argument("--api-url", metavar="URL", help="address of CAST AI's API")


def add_kubernetes(parser: argparse.ArgumentParser, default: str) -> None:
    """Let a command take a kubeconfig and a context; they win over a stack file."""
    group = parser.add_argument_group("login to the cluster")
    group.add_argument(
        "--kubeconfig",
        metavar="PATH",
        help=f"`{FROM_EKS}` (login by the AWS CLI), `{AMBIENT}` (the shell's kubeconfig), or a "
        f"path; default: the stack file's, else `{default}`",
    )
    group.add_argument(
        "--context", metavar="NAME", help="context of the kubeconfig; default: the current one"
    )


def add_format(
    parser: argparse.ArgumentParser, choices: Sequence[str], default: str | None
) -> None:
    """Let a command take the format of its output."""
    text = "%(default)s" if default else "the usual one of the document"
    parser.add_argument(
        "--format", choices=choices, default=default, help=f"format of the output; default: {text}"
    )


def from_arguments(options: argparse.Namespace, paths: Sequence[Path]) -> Target:
    """Return the target of the arguments over the stack file; raises CommandError without one."""
    values = {
        name: value
        for name in Target.__slots__
        if (value := getattr(options, name, None)) is not None
    }
    if paths:
        stack = Target.of(read_stack_file(paths[0]))
        if values.get("kubeconfig") is not None:  # the stack's context is one of its own kubeconfig
            values.setdefault("context", None)
        values = {name: getattr(stack, name) for name in Target.__slots__} | values
    missing = [name for name in ("cluster", "region", "account_id") if name not in values]
    if missing:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise CommandError(f"{flags}: missing; add them, or name a stack file")
    return Target(**values)
