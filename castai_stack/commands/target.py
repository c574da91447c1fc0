"""Which cluster a command is about, from a stack file or from arguments."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from castai_stack.config import stack_file
from castai_stack.config.model import StackConfig
from castai_stack.kube.kubeconfig import FROM_EKS


class TargetError(Exception):
    """The command was not told which cluster it is about; the message says how to."""


@dataclass(frozen=True, slots=True)
class Target:
    """One cluster and the ways to reach what belongs to it."""

    cluster: str
    region: str
    account_id: str
    kubeconfig: str
    context: str | None
    api_url: str

    @classmethod
    def of(cls, settings: StackConfig) -> "Target":
        """Take it from a stack's settings."""
        cluster = settings.cluster
        return cls(
            cluster=cluster.name,
            region=cluster.region,
            account_id=cluster.account_id,
            kubeconfig=cluster.kubeconfig,
            context=cluster.context,
            api_url=settings.api.url,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command ask for a stack file, or for the cluster itself."""
    group = parser.add_argument_group("which cluster")
    group.add_argument(
        "stack_file",
        type=Path,
        nargs="?",
        help="Pulumi stack file, such as Pulumi.prod.yaml; the options below come before it",
    )
    group.add_argument("--cluster", metavar="NAME", help="name of the EKS cluster")
    group.add_argument("--region", metavar="REGION", help="region of the cluster")
    group.add_argument("--account-id", metavar="ID", help="AWS account of the cluster")
    group.add_argument(
        "--kubeconfig",
        metavar="PATH",
        help="`from-eks` (the default), `ambient` for the one of this shell, or a path",
    )
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    group.add_argument("--api-url", metavar="URL", help="address of CAST AI's API")


def from_arguments(arguments: argparse.Namespace) -> Target:
    """Return the target, or raise TargetError or the stack file's SettingsError."""
    found: dict[str, Any] = {
        "kubeconfig": FROM_EKS,
        "context": None,
        "api_url": "https://api.cast.ai",
    }
    if arguments.stack_file is not None:
        told = Target.of(stack_file.read(arguments.stack_file))
        found = {name: getattr(told, name) for name in Target.__slots__}
    for name in Target.__slots__:
        if (given := getattr(arguments, name)) is not None:
            found[name] = given
    missing = [
        f"--{name.replace('_', '-')}"
        for name in ("cluster", "region", "account_id")
        if name not in found
    ]
    if missing:
        raise TargetError(f"{', '.join(missing)}: not given; name it, or give a stack file")
    return Target(**found)
